// Products of rows: the innermost loops of attention.
#pragma once

#include <cstdint>

#include "reference/math/build.h"

namespace pictor {

// Sum of a[i] * b[i], from left to right: what the debug build runs and the tests trust.
float dot_plain(const float* a, const float* b, std::int64_t count);

// The same but for rounding: 64 interleaved partial sums, which the compiler keeps in vector registers.
float dot_fast(const float* a, const float* b, std::int64_t count);

inline float dot(const float* a, const float* b, std::int64_t count)
{
    return use_plain_loops ? dot_plain(a, b, count) : dot_fast(a, b, count);
}

// sum[i] += factor * row[i].
void add_scaled(float factor, const float* row, std::int64_t count, float* sum);

}  // namespace pictor
