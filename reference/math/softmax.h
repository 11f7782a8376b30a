// Scores to probabilities.
#pragma once

#include <cstdint>

#include "reference/math/build.h"

namespace pictor {

// probs[i] = exp(scores[i] - max) / sum: positive numbers that add up to 1. A score of the lowest float
// becomes exactly 0 beside any ordinary one. What the debug build runs and the tests trust.
void softmax_plain(const float* scores, std::int64_t count, float* probs);

// The same but for rounding, many numbers at a time.
void softmax_fast(const float* scores, std::int64_t count, float* probs);

inline void softmax_row(const float* scores, std::int64_t count, float* probs)
{
    use_plain_loops ? softmax_plain(scores, count, probs) : softmax_fast(scores, count, probs);
}

// The exponential of softmax_fast, within 2 units in the last place of exp(x); 0 below -87.33, infinite above
// 88.72.
float exp_fast(float x);

}  // namespace pictor
