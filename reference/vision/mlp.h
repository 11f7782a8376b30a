// The vision side's feed-forward step: two linear layers with a GELU between.
#pragma once

#include "reference/checkpoint/weights.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden [..., d_model] -> the same shape. Follows MllamaVisionMLP.
// `record` is the layer's, since the output bears the name "mlp" itself.
Tensor vision_mlp(const VisionLayerWeights& weights, const Tensor& hidden, const Recorder& record);

}  // namespace pictor
