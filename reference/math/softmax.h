// Scores to probabilities, and the two activations that need exp and erf.
#pragma once

#include <cstdint>

namespace pictor {

// probs[i] = exp(scores[i] - max) / sum. A score of the lowest float becomes exactly 0 beside any ordinary
// one.
void softmax_row(const float* scores, std::int64_t count, float* probs);

// exp(x) in float32, within 2 units in the last place; 0 below -87.33, infinite above 88.72.
float exp_float(float x);

float silu(float x);  // x / (1 + exp(-x))
float gelu(float x);  // x * (1 + erf(x / sqrt 2)) / 2: the exact one

}  // namespace pictor
