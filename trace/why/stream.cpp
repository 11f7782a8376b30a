// The state that flows through the layers: what each branch added to it, gates, norms and activations.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"
#include "trace/why/sums.h"

namespace pictor {
namespace {

// "text layer 8's cross-attention", "the embedding of token 3 \" fish\"".
std::string branch_text(const WhyRun& run, const Ask& ask)
{
    const NameParts parts = split_name(ask.name);
    if (parts.module.empty()) {
        if (ask.name == "language_model.embed_tokens")
            return fmt::format("the embedding of {}",
                               run.places().token(run.places().first_token(ask.step) + ask.indices.at(0)));
        return ask.name == "vision_model.layernorm_pre" ? "the embedded patch, normalised"
               : ask.name == "vision_model.post_tile_positional_embedding"
                   ? "what the local layers made, with the tile embedding"
                   : ask.name;
    }
    const std::string layer = fmt::format("{} layer {}",
                                          parts.global   ? "global vision"
                                          : parts.vision ? "vision"
                                                         : "text",
                                          parts.layer);
    if (parts.leaf.empty() || parts.leaf == "residual")
        return "the state " + std::string(parts.leaf.empty() ? "after " : "inside ") + layer;
    return layer + (parts.leaf.starts_with("cross_attn.")  ? "'s cross-attention"
                    : parts.leaf.starts_with("self_attn.") ? "'s self-attention"
                                                           : "'s MLP");
}

// The same row of an earlier state; nothing where it has none: padding rows begin with the vision layers.
std::optional<Ask> same_row(const WhyRun& run, const Ask& ask, const std::string& name)
{
    Ask other = ask;
    other.name = name;
    const Numbers numbers = run.need(name, ask.step);
    const bool padding =
        numbers->shape.size() == 4 && other.indices.size() > 2 && other.indices[2] >= numbers->shape[2];
    return padding ? std::nullopt : std::optional(other);
}

struct Weights {
    std::vector<double> weight, bias;
    std::string told_by;
};

// A norm's input row, and what makes its numbers comparable.
struct Normalised {
    std::vector<double> x;
    double mean = 0, scale = 1;
};

Normalised normalise(const float* x, std::int64_t width, bool centred, double eps)
{
    Normalised row;
    row.x.assign(x, x + width);
    for (const double value : row.x)
        row.mean += value / static_cast<double>(width);
    row.mean = centred ? row.mean : 0;
    double square = 0;
    for (const double value : row.x)
        square += (value - row.mean) * (value - row.mean) / static_cast<double>(width);
    row.scale = 1 / std::sqrt(square + eps);
    return row;
}

// Weight and bias of one channel of a norm: by the checkpoint, or by least squares over the trace's rows.
struct ChannelFit {
    double weight = 0, bias = 0;
    std::string told_by;
};

ChannelFit fit_channel(const WhyRun& run, const Ask& ask, const Numbers& x, const Numbers& y, bool centred,
                       double eps)
{
    const std::int64_t width = y->shape.back(), channel = ask.indices.back();
    if (run.weights()) {
        const auto weight = run.weights()->find(ask.name, "weight"),
                   bias = run.weights()->find(ask.name, "bias");
        if (weight && static_cast<std::int64_t>(weight->size()) == width)
            return {at(*weight, channel), bias && bias->size() == weight->size() ? at(*bias, channel) : 0,
                    "of the checkpoint"};
    }
    double n = 0, sum_x = 0, sum_y = 0, xx = 0, xy = 0;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(x->values.size()) / width; ++row) {
        const Normalised each = normalise(x->values.data() + row * width, width, centred, eps);
        const double in = (at(each.x, channel) - each.mean) * each.scale,
                     out = at(y->values, row * width + channel);
        n += 1;
        sum_x += in;
        sum_y += out;
        xx += in * in;
        xy += in * out;
    }
    ChannelFit fit{0, 0, fmt::format("inferred from the {} rows of this trace", n)};
    const double spread = n * xx - sum_x * sum_x;
    if (centred && n > 1 && spread > 0) {
        fit.weight = (n * xy - sum_x * sum_y) / spread;
        fit.bias = (sum_y - fit.weight * sum_x) / n;
    } else
        fit.weight = xx > 0 ? xy / xx : 0;
    return fit;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

bool is_unseeing(const WhyRun& run, const Ask& ask)
{
    const std::vector<char> sees = rows_that_see(run.side(ask.step));
    const auto token = static_cast<std::size_t>(ask.indices.at(0));
    return token < sees.size() && !sees[token];
}

std::vector<Term> stream_terms(const WhyRun& run, const Ask& ask)
{
    std::vector<Term> terms;
    Ask at = ask;
    while (true) {
        const std::vector<std::string> inputs = run.side(at.step).inputs_of(at.name);
        const NameParts parts = split_name(at.name);
        const bool sum = !parts.module.empty() && (parts.leaf.empty() || parts.leaf == "residual");
        const auto held = [&](const std::string& name) {
            const TraceEntry* entry = run.trace().find(name, at.step);
            return entry && entry->whole();
        };
        // A state whose parts were not recorded stands for all that is in it.
        if (!sum || inputs.size() != 2 || !held(inputs[1]) || (!held(inputs[0]) && terms.empty()))
            break;
        Ask branch = at;
        branch.name = inputs[1];
        terms.push_back({value_of(run, branch), branch_text(run, branch), "", branch});
        const TraceEntry* const below = run.trace().find(inputs[0], at.step);
        if (!below)
            throw Untold{fmt::format("{} of step {} is not in the trace", inputs[0], at.step)};
        const std::optional<Ask> before = same_row(run, at, inputs[0]);
        if (!before)
            return terms;  // a padding row begins as zeros
        at = *before;
    }
    if (at.name == ask.name)
        throw Untold{fmt::format("the summands of {} are not in the trace", ask.name)};
    terms.push_back({value_of(run, at), branch_text(run, at), "", at});
    return terms;
}

void sum_stream(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "the state so far: where it began, and what each branch added to it";
    take_terms(answer, stream_terms(run, ask));
}

double gate_of(const WhyRun& run, const Ask& ask, std::string& told_by)
{
    const NameParts parts = split_name(ask.name);
    if (const std::optional<double> known = checkpoint_gate(run.side(ask.step), parts)) {
        told_by = "the checkpoint's gate";
        return *known;
    }
    const Numbers x = run.need(only_input(run, ask), ask.step), y = run.need(ask.name, ask.step);
    if (x->values.size() != y->values.size())
        throw Untold{fmt::format("{} and its input have different sizes", ask.name)};
    double xx = 0, xy = 0;
    for (std::size_t i = 0; i < x->values.size(); ++i)
        if (y->values[i] != 0) {  // rows that a mask emptied say nothing about the gate
            xx += static_cast<double>(x->values[i]) * x->values[i];
            xy += static_cast<double>(x->values[i]) * y->values[i];
        }
    told_by = "inferred from this tensor and its input";
    return xx > 0 ? xy / xx : 0;
}

void sum_gated(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const bool of_attention = split_name(ask.name).leaf.find("attn") != std::string::npos;
    if (of_attention && run.weights()) {
        sum_attention_output(run, ask, answer);
        return;
    }
    if (!split_name(ask.name).vision && answer.value == 0 && is_unseeing(run, ask)) {
        answer.how = "this row may see no image: the row mask takes the branch away";
        take_terms(answer, std::vector<Term>{});
        return;
    }
    std::string told_by;
    Ask branch = ask;
    branch.name = only_input(run, ask);
    const double gate = gate_of(run, ask, told_by), before = value_of(run, branch);
    answer.how = fmt::format("the branch times tanh(gate) = {} ({})", number_text(gate), told_by);
    take_terms(answer, {{gate * before, branch_text(run, branch),
                         fmt::format("{} x {}", number_text(before), number_text(gate)), branch}});
    if (of_attention)
        answer.notes.push_back("With the weights (--model DIR) this splits up by head and key.");
}

void sum_norm(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const bool centred = ask.name.starts_with("vision_model");
    const bool around = split_name(ask.name).module.empty();  // the vision encoder's own norms know only 1e-5
    const double eps = !centred ? run.facts().rms_eps : around ? 1e-5 : run.facts().layer_norm_eps;
    const std::string from = only_input(run, ask);
    const Numbers y = run.need(ask.name, ask.step), x = filled_up(run.need(from, ask.step), y->shape);
    const std::int64_t place = position_in(y, ask.name, ask.indices), width = y->shape.back();
    if (x->values.size() != y->values.size() || width < 1)
        throw Untold{fmt::format("{} and {} have different sizes", from, ask.name)};
    const Normalised row = normalise(x->values.data() + place / width * width, width, centred, eps);
    const ChannelFit fit = fit_channel(run, ask, x, y, centred, eps);
    const std::int64_t channel = ask.indices.back();
    const double own = at(row.x, channel), factor = row.scale * fit.weight;
    answer.how =
        fmt::format("{}: divided by the row's {} {}, times the channel's weight {} ({})",
                    centred ? "LayerNorm" : "RMSNorm", centred ? "standard deviation" : "root mean square",
                    number_text(1 / row.scale), number_text(fit.weight), fit.told_by);
    const bool padding = x->shape.size() == 4 && run.need(from, ask.step)->shape[2] <= ask.indices.at(2);
    std::vector<Term> terms{
        {own * factor, fmt::format("channel {}, the same one", channel),
         fmt::format("{} x {}", number_text(own), number_text(factor)),
         padding ? std::nullopt : std::optional(Ask{from, ask.step, ask.indices, {}, ""})}};
    if (centred) {
        terms.push_back({-row.mean * factor, "the row's mean, subtracted",
                         fmt::format("{} x {}", number_text(-row.mean), number_text(factor)), std::nullopt});
        terms.push_back({fit.bias, "the bias", "", std::nullopt});
    }
    take_terms(answer, std::move(terms));
    answer.floor += 64 * 0x1p-24 * std::fabs(answer.value);
    std::vector<std::size_t> order(row.x.size());
    double square = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
        square += (row.x[i] - row.mean) * (row.x[i] - row.mean);
    }
    const auto share = [&](std::size_t i) {
        return square > 0 ? (row.x[i] - row.mean) * (row.x[i] - row.mean) / square : 0;
    };
    const std::size_t shown = std::min<std::size_t>(3, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                      [&](std::size_t p, std::size_t q) { return share(p) > share(q); });
    answer.beside_title = "What else sets the scale: each channel's share of the row's square";
    for (std::size_t i = 0; i < shown; ++i)
        answer.beside.push_back({share(order[i]), fmt::format("channel {}", order[i]),
                                 number_text(row.x[order[i]]), std::nullopt});
}

void sum_activation(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const std::string from = only_input(run, ask);
    const Ask before{from, ask.step, ask.indices, {}, ""};
    const double x = value_of(run, before);
    const bool vision = split_name(ask.name).vision;
    answer.how = vision ? "GELU: x times the share of a bell curve below x" : "SiLU: x times its sigmoid";
    const double share = vision ? 0.5 * (1 + std::erf(x / std::numbers::sqrt2)) : sigmoid(x);
    take_terms(answer, {{x * share, fmt::format("hidden neuron {}", ask.indices.back()),
                         fmt::format("{} x {}", number_text(x), number_text(share)), before}});
    answer.floor += 64 * 0x1p-24 * std::fabs(x);  // the share is a small difference of large numbers
}

void sum_product(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const std::vector<std::string> inputs = run.side(ask.step).inputs_of(ask.name);
    const Ask first{inputs.at(0), ask.step, ask.indices, {}, ""},
        second{inputs.at(1), ask.step, ask.indices, {}, ""};
    const double x = value_of(run, first), y = value_of(run, second);
    answer.how = "the gate's half of the MLP times the other half";
    take_terms(answer, {{x * y, fmt::format("hidden neuron {}", ask.indices.back()),
                         fmt::format("SiLU(gate_proj) {} x up_proj {}", number_text(x), number_text(y)),
                         std::fabs(x) < std::fabs(y) ? second : first}});
}

}  // namespace pictor
