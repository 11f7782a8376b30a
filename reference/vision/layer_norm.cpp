#include "reference/vision/layer_norm.h"

#include <cmath>

namespace pictor {

Tensor layer_norm(const Tensor& x, const LayerNormWeights& weights, float eps)
{
    const std::int64_t d = weights.weight.size();
    require_shape("layer_norm weight", weights.weight, {x.shape.back()});
    require_shape("layer_norm bias", weights.bias, {d});
    Tensor normalised(x.shape);
#pragma omp parallel for if (x.size() > 1 << 18)
    for (std::int64_t start = 0; start < x.size(); start += d) {
        const float* row = x.data() + start;
        float sum = 0;
        for (std::int64_t channel = 0; channel < d; ++channel)
            sum += row[channel];
        const float mean = sum / static_cast<float>(d);
        float square_sum = 0;
        for (std::int64_t channel = 0; channel < d; ++channel)
            square_sum += (row[channel] - mean) * (row[channel] - mean);
        const float scale = 1.0f / std::sqrt(square_sum / static_cast<float>(d) + eps);
        for (std::int64_t channel = 0; channel < d; ++channel)
            normalised.data()[start + channel] =
                (row[channel] - mean) * scale * weights.weight.data()[channel] + weights.bias.data()[channel];
    }
    return normalised;
}

}  // namespace pictor
