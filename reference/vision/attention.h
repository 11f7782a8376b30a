// Patches look at patches: every row of every tile of an image at every other, with no order and no rotation.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden   [n_images][n_tiles][n_rows][d_model]   of each tile its class token, its patches and padding
// padding  [n_images][n_tiles][n_rows]            1 = a row of padding, or any row of an absent tile
// returns  the shape of hidden                    to be gated (global layers) and added by the caller
// Follows MllamaVisionAttention and Meta's ImageAttention; no biases, scale 1 / sqrt(d_head).
Tensor vision_attention(const VisionLayerWeights& weights, const VisionConfig& config, const Tensor& hidden,
                        const std::vector<std::uint8_t>& padding, const Recorder& record);

}  // namespace pictor
