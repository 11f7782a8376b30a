#include "reference/vision/mlp.h"

#include "reference/math/activations.h"
#include "reference/math/linear.h"

namespace pictor {

Tensor vision_mlp(const VisionLayerWeights& weights, const Tensor& hidden, const Recorder& record)
{
    const Tensor wide = linear(hidden, weights.fc1, weights.fc1_bias);
    record("mlp.fc1", "image tile patch channel", wide.view());

    Tensor activated(wide.shape);
#pragma omp parallel for if (wide.size() > 1 << 14)
    for (std::int64_t i = 0; i < wide.size(); ++i)
        activated.data()[i] = gelu(wide.data()[i]);
    record("mlp.activation_fn", "image tile patch channel", activated.view());

    Tensor output = linear(activated, weights.fc2, weights.fc2_bias);
    record("mlp", "image tile patch channel", output.view());
    return output;
}

}  // namespace pictor
