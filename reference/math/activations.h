// The bends between two linear layers of an MLP.
#pragma once

namespace pictor {

float silu(float x);  // x / (1 + exp(-x)), in the text MLP
float gelu(float x);  // x * (1 + erf(x / sqrt 2)) / 2, in the vision MLP: the exact one

}  // namespace pictor
