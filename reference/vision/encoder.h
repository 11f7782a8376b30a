// The vision encoder: pixels of tiles in, states of patches out.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "trace/recording/recorder.h"

namespace pictor {

// Images cut into tiles, as the encoder takes them.
struct VisionInputs {
    Tensor pixel_values;                          // [n_images][n_tiles][3][tile_size][tile_size]; absent: 0
    std::vector<std::int64_t> aspect_ratio_ids;   // [n_images]
    std::vector<std::int64_t> aspect_ratio_mask;  // [n_images][n_tiles], 1 = the tile exists

    std::int64_t n_images() const { return std::ssize(aspect_ratio_ids); }
};

// One layer, local or global. hidden and padding as in vision_attention(); returns the shape of hidden.
Tensor vision_layer(const VisionLayerWeights& layer, const VisionConfig& config, const Tensor& hidden,
                    const std::vector<std::uint8_t>& padding, const Recorder& record);

// returns [n_images][n_tiles][n_patches][d_output]: of each patch (class token first) the final state, then
// the kept states interleaved channel by channel. Throws std::runtime_error when shapes do not fit the config
// or an aspect_ratio_id is outside its table.
Tensor vision_encoder(const VisionWeights& weights, const VisionConfig& config, const VisionInputs& images,
                      Rule rule, const Recorder& record);

}  // namespace pictor
