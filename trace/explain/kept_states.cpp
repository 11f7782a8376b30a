// The states that the vision encoder keeps for the projector, and how they are joined.
#include <algorithm>

#include <fmt/format.h>

#include "trace/explain/steps.h"

namespace pictor {
namespace {

struct KeptRule {
    CauseName cause;
    const char* text;
    std::function<std::string(const ModelFacts&, std::int64_t layer)> state;
};

std::string vision_state(std::int64_t layers_done)
{
    return layers_done == 0 ? "vision_model.layernorm_pre" : fmt::format("vision_model.transformer.layers.{}", layers_done - 1);
}

const std::vector<KeptRule>& kept_rules()
{
    static const std::vector<KeptRule> rules{
        {"", "the INPUT of", [](const ModelFacts&, std::int64_t layer) { return vision_state(layer); }},
        {"kept_states_off_by_one", "the OUTPUT of", [](const ModelFacts&, std::int64_t layer) { return vision_state(layer + 1); }},
        {"kept_states_all_final", "the last local layer's output instead of the states of", [](const ModelFacts& facts, std::int64_t) { return vision_state(facts.n_vision_layers); }},
        {"kept_states_all_final", "the output of layernorm_post instead of the states of", [](const ModelFacts&, std::int64_t) { return std::string("vision_model.layernorm_post"); }},
        {"kept_states_all_final", "the final state again instead of the states of",
         [](const ModelFacts& facts, std::int64_t) { return fmt::format("vision_model.global_transformer.layers.{}", facts.n_global_layers - 1); }},
        {"kept_states_off_by_one", "the input of the layer before", [](const ModelFacts&, std::int64_t layer) { return vision_state(std::max<std::int64_t>(0, layer - 1)); }},
        {"kept_states_off_by_one", "the output of the layer behind", [](const ModelFacts&, std::int64_t layer) { return vision_state(layer + 2); }}};
    return rules;
}

enum class Layout { interleaved, blocks, reversed };

struct JoinRule {
    const KeptRule* kept;
    Layout layout;
    bool final_first;
};

// [final | kept states], each state cut to the rows that are patches.
Predicted join_states(const Side& side, const JoinRule& rule)
{
    const ModelFacts& facts = side.facts();
    const Numbers found = side.find("vision_model");
    if (!found || found->shape.size() != 4 || facts.kept_layers.empty() || facts.n_global_layers == 0)
        return std::nullopt;
    std::vector<Numbers> states{side.find(fmt::format("vision_model.global_transformer.layers.{}", facts.n_global_layers - 1))};
    for (std::int64_t layer : facts.kept_layers)
        states.push_back(side.find(rule.kept->state(facts, layer)));
    const auto n_kept = static_cast<std::int64_t>(facts.kept_layers.size());
    const std::int64_t tiles = found->shape[0] * found->shape[1], patches = found->shape[2], width = found->shape[3] / (n_kept + 1);
    for (const Numbers& state : states)
        if (!state || state->shape.size() != 4 || state->shape[0] * state->shape[1] != tiles || state->shape[2] < patches || state->shape[3] != width ||
            width * (n_kept + 1) != found->shape[3])
            return std::nullopt;
    TraceTensor joined = *found;
    const std::int64_t final_at = rule.final_first ? 0 : n_kept * width, kept_at = rule.final_first ? width : 0;
    for (std::int64_t row = 0; row < tiles * patches; ++row) {
        float* out = joined.values.data() + row * found->shape[3];
        const auto value = [&](std::size_t state, std::int64_t channel) {
            const TraceTensor& from = *states[state];
            return from.values[static_cast<std::size_t>((row / patches * from.shape[2] + row % patches) * width + channel)];
        };
        for (std::int64_t channel = 0; channel < width; ++channel) {
            out[final_at + channel] = value(0, channel);
            for (std::int64_t kept = 0; kept < n_kept; ++kept) {
                const std::int64_t at = rule.layout == Layout::interleaved ? channel * n_kept + kept
                                      : rule.layout == Layout::blocks ? kept * width + channel : channel * n_kept + n_kept - 1 - kept;
                out[kept_at + at] = value(static_cast<std::size_t>(kept) + 1, channel);
            }
        }
    }
    return joined;
}

}  // namespace

Judgement judge_kept_states(const Pair& pair)
{
    const std::string layers = fmt::format("layers {}", fmt::join(pair.b.facts().kept_layers, ", "));
    std::vector<StepRule> rules;
    for (const bool final_first : {true, false})
        for (const Layout layout : {Layout::interleaved, Layout::blocks, Layout::reversed})
            for (const KeptRule& kept : kept_rules()) {
                const bool usual = layout == Layout::interleaved && final_first;
                const char* const where = layout == Layout::interleaved ? "interleaved by channel" : layout == Layout::blocks ? "one state behind the other" : "interleaved in reverse";
                rules.push_back({usual ? kept.cause : layout == Layout::interleaved ? CauseName("final_state_last") : CauseName("interleaved_concat"),
                                 fmt::format("{}{} {}, {}", final_first ? "the final state and " : "", kept.text, layers, where) + (final_first ? "" : ", the final state last"),
                                 [rule = JoinRule{&kept, layout, final_first}](const Side& side) { return join_states(side, rule); }});
            }
    return judge_by_rules(pair, rules);
}

}  // namespace pictor
