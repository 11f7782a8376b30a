#include "reference/math/softmax.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace pictor {

namespace {

// exp(x) = 2^k * exp(r) with x = k ln 2 + r and |r| <= ln 2 / 2. ln 2 is split in a short head, whose product with k is
// exact, and a tail. exp(r) by its Taylor series to r^7: the next term is below 2^-27.
inline float exp_inline(float x)
{
    const float limited = std::min(std::max(x, -87.33f), 88.72f);
    const float scaled = limited * 1.44269504f;
    const int k = static_cast<int>(scaled + (scaled < 0 ? -0.5f : 0.5f));
    const float r = (limited - static_cast<float>(k) * 0.693359375f) + static_cast<float>(k) * 2.12194440e-4f;
    const float series =
        1.0f + r * (1.0f + r * (1.0f / 2 + r * (1.0f / 6 + r * (1.0f / 24 + r * (1.0f / 120 + r * (1.0f / 720 + r * (1.0f / 5040)))))));
    // In two halves, since 2^128 has no float of its own.
    const int half = k / 2;
    const float first = std::bit_cast<float>((half + 127) << 23);
    const float second = std::bit_cast<float>((k - half + 127) << 23);
    const float value = series * first * second;
    return x < -87.33f ? 0.0f : x > 88.72f ? HUGE_VALF : value;
}

}  // namespace

float exp_float(float x) { return std::isnan(x) ? x : exp_inline(x); }

void softmax_row(const float* scores, std::int64_t count, float* probs)
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

float silu(float x) { return x / (1.0f + exp_float(-x)); }

float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

}  // namespace pictor
