#include "reference/math/dot.h"

namespace pictor {

float dot_plain(const float* a, const float* b, std::int64_t count)
{
    float sum = 0;
    for (std::int64_t i = 0; i < count; ++i)
        sum += a[i] * b[i];
    return sum;
}

PICTOR_VECTOR_WIDTHS
float dot_fast(const float* a, const float* b, std::int64_t count)
{
    constexpr std::int64_t lanes = 64;
    float sums[lanes] = {};
    std::int64_t i = 0;
    for (; i + lanes <= count; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += a[i + lane] * b[i + lane];
    for (std::int64_t half = lanes / 2; half > 0; half /= 2)
        for (std::int64_t lane = 0; lane < half; ++lane)
            sums[lane] += sums[lane + half];
    for (; i < count; ++i)
        sums[0] += a[i] * b[i];
    return sums[0];
}

PICTOR_VECTOR_WIDTHS
void add_scaled(float factor, const float* row, std::int64_t count, float* sum)
{
    for (std::int64_t i = 0; i < count; ++i)
        sum[i] += factor * row[i];
}

}  // namespace pictor
