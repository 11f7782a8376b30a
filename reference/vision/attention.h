// Patches look at patches: every row of every tile of a picture at every other, with no order and no
// rotation.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden   [n_images][n_tiles][n_rows][d_model]   n_rows: patches of a tile, class token first, filled up to
// a multiple of 8 padding  [n_images][n_tiles][n_rows]            1 = a filled-up row or a row of an absent
// tile returns  the shape of hidden                    to be gated (global layers) and added by the caller
// Follows MllamaVisionAttention and Meta's ImageAttention; no biases, scale 1 / sqrt(d_head).
Tensor vision_attention(const VisionLayerWeights& weights, const VisionConfig& config, const Tensor& hidden,
                        const std::vector<std::uint8_t>& padding, const Recorder& record);

}  // namespace pictor
