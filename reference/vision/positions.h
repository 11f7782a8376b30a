// Where a patch is in its tile, and its tile in the image. Three learned tables, each behind a gate.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/checkpoint/weights.h"

namespace pictor {

// aspect_ratio_ids [n_images]: 1 + index of the image's grid of tiles; 0 means no image and has a row of its
// own.

// states [n_images][n_tiles][n_patches][d] + tanh(gate) * table[aspect id][tile], the same for every patch.
Tensor add_tile_embedding(const Tensor& states, const std::vector<std::int64_t>& aspect_ratio_ids,
                          const Tensor& table, float gate);

// The class token in front of each tile's patches: [..][n * n][d] -> [..][1 + n * n][d].
Tensor with_class_token(const Tensor& states, const Tensor& class_embedding);

// states + (1 - tanh(gate)) * position[patch] + tanh(gate) * tile_position[aspect id][tile][patch].
Tensor add_positions(const Tensor& states, const std::vector<std::int64_t>& aspect_ratio_ids,
                     const VisionWeights& weights);

}  // namespace pictor
