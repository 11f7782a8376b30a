// Subtract the mean, divide by the standard deviation, scale and shift: the vision side's normalisation.
#pragma once

#include "reference/checkpoint/weights.h"

namespace pictor {

// x [..., d] -> the same shape.
Tensor layer_norm(const Tensor& x, const LayerNormWeights& weights, float eps);

}  // namespace pictor
