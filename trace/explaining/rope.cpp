// RoPE: the angles of each position, and the queries and keys they turn.
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"

namespace pictor {
namespace {

struct AngleRule {
    double theta;
    bool scaled;
    std::int64_t shift;  // of the first position; from_zero: counted from this step's first token
    bool from_zero;
    double factor;        // of the llama3 scaling
    bool blended = true;  // between wavelengths that are scaled and those that are not
};

double frequency_of(const ModelFacts& facts, const AngleRule& rule, std::int64_t pair, std::int64_t d_head)
{
    const double frequency =
        1 / std::pow(rule.theta, static_cast<double>(2 * pair) / static_cast<double>(d_head));
    if (!rule.scaled)
        return frequency;
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > facts.rope_length / facts.rope_low)
        return frequency / rule.factor;
    if (wavelength < facts.rope_length / facts.rope_high || !rule.blended)
        return frequency;
    const double share =
        (facts.rope_length / wavelength - facts.rope_low) / (facts.rope_high - facts.rope_low);
    return (1 - share) * frequency / rule.factor + share * frequency;
}

Predicted angles(const Side& side, const std::string& name, const AngleRule& rule)
{
    const TraceEntry* entry = side.entry(name);
    if (!entry || entry->shape.size() != 2 || entry->shape[1] % 2 != 0)
        return std::nullopt;
    const std::int64_t n_tokens = entry->shape[0], d_head = entry->shape[1], half = d_head / 2;
    const bool sine = name.ends_with(".sin");
    TraceTensor result{entry->shape, std::vector<float>(static_cast<std::size_t>(entry->size()))};
    for (std::int64_t pair = 0; pair < half; ++pair) {
        // Both references keep frequency and angle in float32; at large positions that is what they agree on.
        const auto frequency = static_cast<float>(frequency_of(side.facts(), rule, pair, d_head));
        for (std::int64_t token = 0; token < n_tokens; ++token) {
            const std::int64_t position = (rule.from_zero ? 0 : side.first_token()) + token + rule.shift;
            const float angle = static_cast<float>(position) * frequency;
            const auto value = static_cast<float>(sine ? std::sin(static_cast<double>(angle))
                                                       : std::cos(static_cast<double>(angle)));
            at(result.values, token * d_head + pair) = at(result.values, token * d_head + pair + half) =
                value;
        }
    }
    return result;
}

enum class Pairing { halves, neighbours };

// first x cos - second x sin and second x cos + first x sin, or what a port makes of it.
struct Turn {
    Pairing from = Pairing::halves,
            to = Pairing::halves;  // the two channels that are read, and where they are written
    double first_sign = -1, second_sign = 1;
};

std::int64_t channel_of(Pairing pairing, std::int64_t pair, std::int64_t which, std::int64_t half)
{
    return pairing == Pairing::halves ? pair + which * half : 2 * pair + which;
}

Predicted rotate(const Numbers& x, const Numbers& cos, const Numbers& sin, const Turn& turn)
{
    if (!x || !cos || !sin || x->shape.size() != 3 || cos->shape.size() != 2 || cos->shape != sin->shape ||
        cos->shape[0] != x->shape[0] || cos->shape[1] != x->shape[2] || x->shape[2] % 2 != 0)
        return std::nullopt;
    TraceTensor result = *x;
    const std::int64_t heads = x->shape[1], d = x->shape[2], half = d / 2;
    for (std::int64_t row = 0; row < x->shape[0] * heads; ++row) {
        const float* in = x->values.data() + row * d;
        float* out = result.values.data() + row * d;
        const std::int64_t token = row / heads;
        for (std::int64_t pair = 0; pair < half; ++pair) {
            const double c = at(cos->values, token * d + pair), s = at(sin->values, token * d + pair);
            const double first = in[channel_of(turn.from, pair, 0, half)],
                         second = in[channel_of(turn.from, pair, 1, half)];
            out[channel_of(turn.to, pair, 0, half)] =
                static_cast<float>(first * c + turn.first_sign * second * s);
            out[channel_of(turn.to, pair, 1, half)] =
                static_cast<float>(second * c + turn.second_sign * first * s);
        }
    }
    return result;
}

}  // namespace

double rope_frequency(const ModelFacts& facts, std::int64_t pair, std::int64_t d_head)
{
    return frequency_of(facts, {facts.rope_theta, facts.rope_scaled, 0, false, facts.rope_factor}, pair,
                        d_head);
}

Predicted rotate_halves(const Numbers& x, const Numbers& cos, const Numbers& sin)
{
    return rotate(x, cos, sin, {});
}

Judgement judge_angles(const Pair& pair, const NameParts&)
{
    const ModelFacts& facts = pair.a.facts();
    const auto rule = [&](CauseName cause, std::string text, AngleRule each) {
        return StepRule{cause, std::move(text),
                        [each, name = pair.name](const Side& side) { return angles(side, name, each); }};
    };
    const AngleRule right{facts.rope_theta, facts.rope_scaled, 0, false, facts.rope_factor};
    AngleRule unscaled = right, base = right, base_unscaled = right, late = right, early = right,
              restarted = right, evenly = right, unblended = right;
    unscaled.scaled = !right.scaled;
    base.theta = base_unscaled.theta = 10000;
    base_unscaled.scaled = false;
    late.shift = 1;
    early.shift = -1;
    restarted.from_zero = true;
    evenly.factor = 1 / facts.rope_factor;
    unblended.blended = false;
    // A frequency in float32 is off by up to half a unit, an angle by as much more: times the position.
    const TraceEntry* const entry = pair.b.entry(pair.name);
    const double last_position =
        static_cast<double>(pair.b.first_token() + (entry && !entry->shape.empty() ? entry->shape[0] : 0));
    return judge_by_rules(
        pair,
        {rule("",
              fmt::format("theta {:g}{}", facts.rope_theta, facts.rope_scaled ? " with llama3 scaling" : ""),
              right),
         rule("llama3_rope_scaling", facts.rope_scaled ? "without llama3 scaling" : "with llama3 scaling",
              unscaled),
         rule("llama3_rope_scaling", "frequencies multiplied instead of divided by the factor", evenly),
         rule("llama3_rope_scaling", "llama3 scaling without its blend between short and long waves",
              unblended),
         rule("rope_theta", "theta 10000", base),
         rule("rope_theta", "theta 10000 without scaling", base_unscaled),
         rule("rope_position", "positions one too high", late),
         rule("rope_position", "positions one too low", early),
         rule("rope_position", "positions counted from this step's first token", restarted)},
        2 * unit_roundoff("F32") * last_position);
}

Judgement judge_rotated(const Pair& pair, const NameParts& parts)
{
    const bool query = parts.leaf.ends_with("rotated_q");
    const std::string module = parts.module + ".self_attn.", from = query ? "q_proj" : "k_proj";
    const auto rule = [&](CauseName cause, std::string text, Turn turn) {
        return StepRule{cause, std::move(text), [=](const Side& side) {
                            return rotate(side.find(module + from),
                                          side.find("language_model.rotary_emb.cos"),
                                          side.find("language_model.rotary_emb.sin"), turn);
                        }};
    };
    const Pairing halves = Pairing::halves, neighbours = Pairing::neighbours;
    return judge_by_rules(
        pair,
        {rule("", from + " rotated in pairs of channels i and i + d_head / 2", {}),
         rule("rope_pairs_halves", from + " rotated in pairs of neighbouring channels",
              {neighbours, neighbours}),
         rule("rope_pairs_halves", from + " rotated in pairs of neighbouring channels and laid out in halves",
              {neighbours, halves}),
         rule("rope_pairs_halves", from + " rotated in halves and laid out as neighbouring channels",
              {halves, neighbours}),
         rule("rope_direction", from + " rotated the other way", {halves, halves, 1, -1}),
         rule("rope_direction", from + " rotated the other way in pairs of neighbours",
              {neighbours, neighbours, 1, -1}),
         rule("rope_direction", from + " with the second channel added where it should be subtracted",
              {halves, halves, 1, 1}),
         rule("rope_direction", from + " with the first channel subtracted where it should be added",
              {halves, halves, -1, -1}),
         {"rope_missing", from + " not turned", [=](const Side& side) -> Predicted {
              const Numbers x = side.find(module + from);
              return x ? Predicted(*x) : std::nullopt;
          }}});
}

}  // namespace pictor
