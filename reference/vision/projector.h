// Patch states of the vision side to states of the text side's width.
#pragma once

#include "reference/checkpoint/weights.h"

namespace pictor {

// states [n_images][n_tiles][n_patches][d_output] -> [n_images][n_tiles][n_patches][text d_model]: one linear
// layer.
Tensor multi_modal_projector(const ProjectorWeights& weights, const Tensor& states);

}  // namespace pictor
