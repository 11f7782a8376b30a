#include "reference/text/rms_norm.h"

#include <cmath>

namespace pictor {

Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps)
{
    const std::int64_t d = weight.size();
    require_shape("rms_norm weight", weight, {x.shape.back()});
    Tensor normalised(x.shape);
    for (std::int64_t start = 0; start < x.size(); start += d) {
        const float* row = x.data() + start;
        float square_sum = 0;
        for (std::int64_t channel = 0; channel < d; ++channel)
            square_sum += row[channel] * row[channel];
        const float scale = 1.0f / std::sqrt(square_sum / static_cast<float>(d) + eps);
        for (std::int64_t channel = 0; channel < d; ++channel)
            normalised.data()[start + channel] = weight(channel) * (row[channel] * scale);
    }
    return normalised;
}

}  // namespace pictor
