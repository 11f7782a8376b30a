// The rows of graph/operations.cpp, each with the function that takes its numbers apart.
#include "trace/why/sums.h"
#include "base/at.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace pictor {
namespace {

struct SummedStep {
    std::string_view name;  // as in graph/operations.cpp
    unsigned where;
    Sum sum;
};

constexpr unsigned in_any = in_text | in_vision;
constexpr std::size_t most_terms = 10;

constexpr SummedStep summed_steps[] = {
    {"input_ids", around_them, sum_input},
    {"pixel_values", around_them, sum_pixel},
    {"aspect_ratio_ids", around_them, sum_input},
    {"cross_attention_mask", around_them, sum_input},
    {"full_text_row_masked_out_mask", around_them, sum_row_mask},
    {"vision_model.patch_embedding", around_them, sum_patch_embedding},
    {"vision_model.pre_tile_positional_embedding", around_them, sum_tile_embedding},
    {"vision_model.gated_positional_embedding", around_them, sum_positions},
    {"vision_model.layernorm_pre", around_them, sum_norm},
    {"vision_model.layernorm_post", around_them, sum_norm},
    {"vision_model.post_tile_positional_embedding", around_them, sum_tile_embedding},
    {"vision_model", around_them, sum_kept_state},
    {"multi_modal_projector", around_them, sum_linear},
    {"language_model.embed_tokens", around_them, sum_embedding},
    {"language_model.rotary_emb.cos", around_them, sum_angle},
    {"language_model.rotary_emb.sin", around_them, sum_angle},
    {"language_model.norm", around_them, sum_norm},
    {"lm_head", around_them, sum_logit},

    {"input_layernorm", in_any, sum_norm},
    {"self_attn.q_proj", in_any, sum_linear},
    {"self_attn.k_proj", in_any, sum_linear},
    {"self_attn.v_proj", in_any, sum_linear},
    {"self_attn.rotated_q", in_text_self, sum_rotated},
    {"self_attn.rotated_k", in_text_self, sum_rotated},
    {"self_attn.scores", in_any, sum_score},
    {"self_attn.masked_scores", in_any, sum_masked_score},
    {"self_attn.probs", in_any, sum_probability},
    {"self_attn.context", in_any, sum_context},
    {"self_attn.o_proj", in_any, sum_attention_output},
    {"self_attn.gated", in_vision_global, sum_gated},
    {"cross_attn.q_proj", in_text_cross, sum_linear},
    {"cross_attn.q_norm", in_text_cross, sum_norm},
    {"cross_attn.k_proj", in_text_cross, sum_linear},
    {"cross_attn.k_norm", in_text_cross, sum_norm},
    {"cross_attn.v_proj", in_text_cross, sum_linear},
    {"cross_attn.scores", in_text_cross, sum_score},
    {"cross_attn.masked_scores", in_text_cross, sum_masked_score},
    {"cross_attn.probs", in_text_cross, sum_probability},
    {"cross_attn.context", in_text_cross, sum_context},
    {"cross_attn.o_proj", in_text_cross, sum_attention_output},
    {"cross_attn.gated", in_text_cross, sum_gated},
    {"residual", in_any, sum_stream},
    {"post_attention_layernorm", in_any, sum_norm},
    {"mlp.fc1", in_vision, sum_linear},
    {"mlp.activation_fn", in_vision, sum_activation},
    {"mlp.gate_proj", in_text, sum_linear},
    {"mlp.up_proj", in_text, sum_linear},
    {"mlp.act_fn", in_text, sum_activation},
    {"mlp.gated", in_text, sum_product},
    {"mlp.gated", in_vision_global, sum_gated},
    {"mlp", in_any, sum_linear},
    {"mlp.gated_output", in_text_cross, sum_gated},
    {"", in_any, sum_stream},
};

}  // namespace

Sum sum_of(const Operation& operation)
{
    for (const SummedStep& step : summed_steps)
        if ((step.where & operation.where) == operation.where && step.name == operation.name)
            return step.sum;
    return nullptr;
}

void take_terms(Answer& answer, const std::vector<double>& values,
                const std::function<Term(std::size_t)>& describe)
{
    std::vector<std::size_t> order;  // of the terms that are not 0
    for (std::size_t i = 0; i < values.size(); ++i)
        if (values[i] != 0 || values.size() < most_terms)
            order.push_back(i);
    const std::size_t shown = order.size() <= most_terms + 1 ? order.size() : most_terms;
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                      [&](std::size_t x, std::size_t y) {
                          const double a = std::fabs(values[x]), b = std::fabs(values[y]);
                          return a != b ? a > b : x < y;
                      });
    double size = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const double value = values[order[i]];
        size += std::fabs(value);
        answer.total += value;
        if (i >= shown) {
            answer.others += value;
            ++answer.n_others;
            continue;
        }
        answer.terms.push_back(describe(order[i]));
        answer.terms.back().value = value;
    }
    answer.computed = answer.total;
    answer.floor += 16 * 0x1p-24 * size;  // float32 sums of this size, in another order
}

void take_terms(Answer& answer, std::vector<Term> terms)
{
    std::vector<double> values;
    for (const Term& term : terms)
        values.push_back(term.value);
    take_terms(answer, values, [&](std::size_t i) { return std::move(terms[i]); });
}

std::int64_t position_in(const Numbers& numbers, const std::string& name,
                         const std::vector<std::int64_t>& indices)
{
    std::int64_t position = 0;
    if (indices.size() != numbers->shape.size())
        throw Untold{fmt::format("{} has {} axes, where the graph of the model has {}", name,
                                 numbers->shape.size(), indices.size())};
    for (std::size_t axis = 0; axis < indices.size(); ++axis) {
        if (indices[axis] < 0 || indices[axis] >= numbers->shape[axis])
            throw Untold{fmt::format("{} has shape {}, which does not go with the tensors around it", name,
                                     shape_text(numbers->shape))};
        position = position * numbers->shape[axis] + indices[axis];
    }
    return position;
}

double value_of(const WhyRun& run, const Ask& ask)
{
    const Numbers numbers = run.need(ask.name, ask.step);
    if (ask.direction.empty())
        return at(numbers->values, position_in(numbers, ask.name, ask.indices));
    std::vector<std::int64_t> first = ask.indices;
    first.push_back(0);
    const auto row = static_cast<std::size_t>(position_in(numbers, ask.name, first));
    if (static_cast<std::int64_t>(ask.direction.size()) != numbers->shape.back())
        throw Untold{
            fmt::format("{} has {} channels, not {}", ask.name, numbers->shape.back(), ask.direction.size())};
    double sum = 0;
    for (std::size_t channel = 0; channel < ask.direction.size(); ++channel)
        sum += ask.direction[channel] * numbers->values[row + channel];
    return sum;
}

std::vector<double> direction_of(const Ask& ask, std::int64_t width)
{
    if (!ask.direction.empty()) {
        if (static_cast<std::int64_t>(ask.direction.size()) != width)
            throw Untold{fmt::format("{} does not have {} channels", ask.name, ask.direction.size())};
        return ask.direction;
    }
    if (ask.indices.empty() || ask.indices.back() < 0 || ask.indices.back() >= width)
        throw Untold{fmt::format("the weights of {} have {} outputs, the trace has more", ask.name, width)};
    std::vector<double> direction(static_cast<std::size_t>(width));
    at(direction, ask.indices.back()) = 1;
    return direction;
}

std::string only_input(const WhyRun& run, const Ask& ask)
{
    const std::vector<std::string> inputs = run.side(ask.step).inputs_of(ask.name);
    if (inputs.empty())
        throw Untold{fmt::format("the graph of the model has no input for {}", ask.name)};
    return inputs.front();
}

std::string number_text(double value)
{
    const double size = std::fabs(value);
    return size != 0 && (size >= 1e5 || size < 1e-4) ? fmt::format("{:.3e}", value)
           : size >= 100                             ? fmt::format("{:.1f}", value)
                                                     : fmt::format("{:.4g}", value);
}

}  // namespace pictor
