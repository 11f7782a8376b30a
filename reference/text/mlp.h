// The text side's feed-forward step: SwiGLU.
#pragma once

#include "reference/checkpoint/weights.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden [n_tokens][d_model] -> the same shape: down(silu(gate(x)) * up(x)). Follows MllamaTextMLP.
// `record` is the layer's, since the output bears the name "mlp" itself.
Tensor text_mlp(const TextMlpWeights& weights, const Tensor& hidden, const Recorder& record);

}  // namespace pictor
