#include "reference/math/softmax.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace pictor {

namespace {

// exp(x) = 2^k * exp(r) with x = k ln 2 + r and |r| <= ln 2 / 2. ln 2 is split in a short head, whose product
// with k is exact, and a tail. exp(r) by its Taylor series to r^7: the next term is below 2^-27. For x up to
// 88.72; 0 below -87.33, where the result would leave the normal floats. It has no branches, so that a loop
// over it becomes vector instructions.
inline float exp_inline(float x)
{
    // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits.
    constexpr float rounder = 12582912.0f;
    const float shifted = x * 1.44269504f + rounder;
    const float k = shifted - rounder;
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    const float series =
        1.0f +
        r * (1.0f +
             r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 +
                                                  r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))))));
    // k goes into the exponent field; where x is too low the bits are garbage and are all cleared.
    const std::uint32_t power =
        (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(rounder)) << 23;
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(series) + power;
    const std::uint32_t keep = 0u - static_cast<std::uint32_t>(x >= -87.33f);
    // A NaN score must not pass for a masked one.
    const std::uint32_t is_nan = 0u - static_cast<std::uint32_t>(x != x);
    return std::bit_cast<float>((bits & keep) | (is_nan & 0x7fc00000u));
}

}  // namespace

void softmax_plain(const float* scores, std::int64_t count, float* probs)
{
    float highest = -HUGE_VALF;
    for (std::int64_t i = 0; i < count; ++i)
        highest = std::max(highest, scores[i]);

    // Without the subtraction exp() would overflow beyond a score of 88; the quotient is the same.
    float sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        probs[i] = std::exp(scores[i] - highest);
        sum += probs[i];
    }
    for (std::int64_t i = 0; i < count; ++i)
        probs[i] /= sum;
}

float exp_fast(float x) { return x > 88.72f ? HUGE_VALF : exp_inline(x); }

void softmax_fast(const float* scores, std::int64_t count, float* probs)
{
    constexpr std::int64_t lanes = 16;  // partial maxima and sums, side by side in one vector register
    float highest[lanes];
    std::fill_n(highest, lanes, -HUGE_VALF);
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            highest[lane] = scores[i + lane] > highest[lane] ? scores[i + lane] : highest[lane];
    for (; i < count; ++i)
        highest[0] = std::max(highest[0], scores[i]);
    const float top = *std::max_element(highest, highest + lanes);

    for (i = 0; i < count; ++i)
        probs[i] = exp_inline(scores[i] - top);

    float sums[lanes] = {};
    for (i = 0; i + lanes <= count; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += probs[i + lane];
    float sum = 0;
    for (float partial : sums)
        sum += partial;
    for (; i < count; ++i)
        sum += probs[i];

    const float inverse = 1.0f / sum;
    for (i = 0; i < count; ++i)
        probs[i] *= inverse;
}

}  // namespace pictor
