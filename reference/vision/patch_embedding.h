// Pixels to patch states: a convolution whose kernel and stride are both one patch.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"

namespace pictor {

// pixels [n_images][n_tiles][3][tile_size][tile_size] -> [n_images][n_tiles][n * n][d_model], patches row by
// row. No bias, no class token yet.
Tensor patch_embedding(const VisionWeights& weights, const VisionConfig& config, const Tensor& pixels);

}  // namespace pictor
