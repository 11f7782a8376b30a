#include "reference/text/rope.h"

#include <cmath>
#include <numbers>

namespace pictor {

std::vector<float> rope_frequencies(const RopeConfig& config, std::int64_t d_head)
{
    // In float32 and in the references' order of operations: one unit in the last place of a frequency moves
    // a cosine at position 8192 by 9e-7.
    const float theta = static_cast<float>(config.theta), factor = static_cast<float>(config.factor);
    const float low = static_cast<float>(config.low_freq_factor);
    const float high = static_cast<float>(config.high_freq_factor);
    const float original_length = static_cast<float>(config.original_length);
    std::vector<float> frequencies;
    for (std::int64_t pair = 0; pair < d_head / 2; ++pair) {
        float frequency = 1.0f / std::pow(theta, static_cast<float>(2 * pair) / static_cast<float>(d_head));
        if (config.scaled) {
            // TRAP(llama3_rope_scaling): pairs that turn slowly are slowed down by `factor`, fast ones are
            // left alone, those between are blended. A port without it agrees at position 0 and drifts apart
            // with distance.
            const float wavelength = 2.0f * std::numbers::pi_v<float> / frequency;
            if (wavelength > original_length / low) {
                frequency = frequency / factor;
            } else if (wavelength >= original_length / high) {
                const float share = (original_length / wavelength - low) / (high - low);
                const float slowed = (1.0f - share) * frequency / factor, left_alone = share * frequency;
                // Added in double, lest a compiler fuse product and sum and save a rounding that the
                // references make.
                frequency = static_cast<float>(static_cast<double>(slowed) + static_cast<double>(left_alone));
            }
        }
        frequencies.push_back(frequency);
    }
    return frequencies;
}

RopeAngles rope_angles(const RopeConfig& config, std::int64_t d_head, std::int64_t first_position,
                       std::int64_t n_tokens)
{
    const std::vector<float> frequencies = rope_frequencies(config, d_head);
    const std::int64_t half = d_head / 2;
    RopeAngles angles{Tensor({n_tokens, d_head}), Tensor({n_tokens, d_head})};
    for (std::int64_t token = 0; token < n_tokens; ++token) {
        for (std::int64_t pair = 0; pair < half; ++pair) {
            // The product is rounded to float32, as in both references: past position 8192 it shows.
            const float angle = static_cast<float>(first_position + token) * at(frequencies, pair);
            angles.cos(token, pair) = angles.cos(token, pair + half) = std::cos(angle);
            angles.sin(token, pair) = angles.sin(token, pair + half) = std::sin(angle);
        }
    }
    return angles;
}

Tensor rotate(const Tensor& x, const RopeAngles& angles)
{
    const std::int64_t n_tokens = angles.cos.extent(0), d_head = angles.cos.extent(1), half = d_head / 2;
    require_shape("rotate", x, {n_tokens, -1, d_head});
    Tensor rotated(x.shape);
    for (std::int64_t token = 0; token < n_tokens; ++token) {
        for (std::int64_t head = 0; head < x.extent(1); ++head) {
            // TRAP(rope_pairs_halves): channels i and i + half. Meta's own files order the rows of Q and K
            // for pairs of neighbours; with weights in this order that would turn the wrong channels
            // together.
            for (std::int64_t pair = 0; pair < half; ++pair) {
                const float cos = angles.cos(token, pair), sin = angles.sin(token, pair);
                const float first = x(token, head, pair), second = x(token, head, pair + half);
                rotated(token, head, pair) = first * cos - second * sin;
                rotated(token, head, pair + half) = second * cos + first * sin;
            }
        }
    }
    return rotated;
}

}  // namespace pictor
