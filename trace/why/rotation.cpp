// RoPE: a pair of channels rotated together, by the angle of its position.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "trace/explaining/steps.h"
#include "trace/why/sums.h"

namespace pictor {

void sum_rotated(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const std::string from = only_input(run, ask), cos_name = "language_model.rotary_emb.cos",
                      sin_name = "language_model.rotary_emb.sin";
    const Numbers x = run.need(from, ask.step);
    position_in(x, from, ask.indices);
    const std::int64_t half = x->shape[2] / 2, channel = ask.indices[2];
    const bool low = channel < half;
    Ask other{from, ask.step, ask.indices, {}, ""};
    other.indices[2] = low ? channel + half : channel - half;
    const std::vector<std::int64_t> angle{ask.indices[0], channel};
    const double own = value_of(run, {from, ask.step, ask.indices, {}, ""}), partner = value_of(run, other),
                 cos = value_of(run, {cos_name, ask.step, angle, {}, ""}),
                 sin = value_of(run, {sin_name, ask.step, angle, {}, ""});
    answer.how = fmt::format("RoPE: channels {} and {} rotated together by the angle of this position",
                             std::min(channel, other.indices[2]), std::max(channel, other.indices[2]));
    take_terms(
        answer,
        {{own * cos, fmt::format("channel {}, the same one", channel),
          fmt::format("{} x cos {}", number_text(own), number_text(cos)),
          Ask{from, ask.step, ask.indices, {}, ""}},
         {(low ? -1 : 1) * partner * sin, fmt::format("channel {}, its partner", other.indices[2]),
          fmt::format("{} x {}sin {}", number_text(partner), low ? "minus " : "", number_text(sin)), other}});
}

void sum_angle(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Numbers angles = run.need(ask.name, ask.step);
    const std::int64_t d_head = angles->shape.back(),
                       pair = ask.indices.back() % std::max<std::int64_t>(1, d_head / 2),
                       position = run.places().first_token(ask.step) + ask.indices.front();
    // Both references keep frequency and angle in float32.
    const auto frequency = static_cast<float>(rope_frequency(run.facts(), pair, d_head));
    const float angle = static_cast<float>(position) * frequency;
    const bool sine = ask.name.ends_with(".sin");
    answer.how = "the angle of a position: position x the pair's frequency";
    const double value = sine ? std::sin(static_cast<double>(angle)) : std::cos(static_cast<double>(angle));
    take_terms(answer,
               {{angle, fmt::format("position {}", position),
                 fmt::format("{} x {} radians a position", position, number_text(frequency)), std::nullopt}});
    answer.total_is =
        sine ? "the angle, of which this is the sine" : "the angle, of which this is the cosine";
    answer.computed = value;
    answer.floor = 1e-6;
}

}  // namespace pictor
