#include "reference/text/mlp.h"

#include "reference/math/activations.h"
#include "reference/math/linear.h"

namespace pictor {

Tensor text_mlp(const TextMlpWeights& weights, const Tensor& hidden, const Recorder& record)
{
    const Tensor gate = linear(hidden, weights.gate_proj);
    record("mlp.gate_proj", "token channel", gate.view());
    const Tensor up = linear(hidden, weights.up_proj);
    record("mlp.up_proj", "token channel", up.view());

    Tensor activated(gate.shape);
    for (std::int64_t i = 0; i < gate.size(); ++i)
        activated.data()[i] = silu(gate.data()[i]);
    record("mlp.act_fn", "token channel", activated.view());

    Tensor gated(gate.shape);
    for (std::int64_t i = 0; i < gate.size(); ++i)
        gated.data()[i] = activated.data()[i] * up.data()[i];
    record("mlp.gated", "token channel", gated.view());

    Tensor output = linear(gated, weights.down_proj);
    record("mlp", "token channel", output.view());
    return output;
}

}  // namespace pictor
