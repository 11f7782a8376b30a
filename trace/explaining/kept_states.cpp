// The states that the vision encoder keeps for the projector, and how they are joined.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "trace/explaining/steps.h"

namespace pictor {
namespace {

struct KeptRule {
    CauseName cause;
    const char* text;
    std::function<std::string(const ModelFacts&, std::int64_t layer)> state;
};

const std::vector<KeptRule>& kept_rules()
{
    static const std::vector<KeptRule> rules{
        {"", "the INPUT of", [](const ModelFacts&, std::int64_t layer) { return local_vision_state(layer); }},
        {"kept_states_off_by_one", "the OUTPUT of",
         [](const ModelFacts&, std::int64_t layer) { return local_vision_state(layer + 1); }},
        {"kept_states_all_final", "the last local layer's output instead of the states of",
         [](const ModelFacts& facts, std::int64_t) { return local_vision_state(facts.n_vision_layers); }},
        {"kept_states_all_final", "the output of layernorm_post instead of the states of",
         [](const ModelFacts&, std::int64_t) { return std::string("vision_model.layernorm_post"); }},
        {"kept_states_all_final", "the final state again instead of the states of",
         [](const ModelFacts& facts, std::int64_t) {
             return fmt::format("vision_model.global_transformer.layers.{}", facts.n_global_layers - 1);
         }},
        {"kept_states_off_by_one", "the input of the layer before",
         [](const ModelFacts&, std::int64_t layer) {
             return local_vision_state(std::max<std::int64_t>(0, layer - 1));
         }},
        {"kept_states_off_by_one", "the output of the layer after",
         [](const ModelFacts&, std::int64_t layer) { return local_vision_state(layer + 2); }}};
    return rules;
}

enum class Layout { interleaved, blocks, reversed };

struct JoinRule {
    const KeptRule* kept;
    Layout layout;
    bool final_first;
};

// Which of the states a column of the joined tensor comes from (0: the final one), and which channel of it.
std::pair<std::int64_t, std::int64_t> origin(const JoinRule& rule, std::int64_t column, std::int64_t width,
                                             std::int64_t n_kept)
{
    const std::int64_t final_at = rule.final_first ? 0 : n_kept * width,
                       kept_at = rule.final_first ? width : 0;
    if (column >= final_at && column < final_at + width)
        return {0, column - final_at};
    const std::int64_t at = column - kept_at;
    if (rule.layout == Layout::blocks)
        return {1 + at / width, at % width};
    return {rule.layout == Layout::interleaved ? 1 + at % n_kept : n_kept - at % n_kept, at / n_kept};
}

// [final | kept states], each state cut to the rows that are patches, at the places that are held of the
// joined tensor.
Predicted join_states(const Side& side, const JoinRule& rule)
{
    const ModelFacts& facts = side.facts();
    const TraceEntry* found = side.entry("vision_model");
    if (!found || found->shape.size() != 4 || facts.kept_layers.empty() || facts.n_global_layers == 0)
        return std::nullopt;
    std::vector<std::string> states{
        fmt::format("vision_model.global_transformer.layers.{}", facts.n_global_layers - 1)};
    for (std::int64_t layer : facts.kept_layers)
        states.push_back(rule.kept->state(facts, layer));
    const auto n_kept = static_cast<std::int64_t>(facts.kept_layers.size());
    const std::int64_t tiles = found->shape[0] * found->shape[1], patches = found->shape[2],
                       columns = found->shape[3], width = columns / (n_kept + 1);
    const TraceSample places = side.places_of("vision_model");
    TraceTensor joined{{places.count}, std::vector<float>(static_cast<std::size_t>(places.count))};
    for (std::size_t state = 0; state < states.size(); ++state) {
        const TraceEntry* from = side.entry(states[state]);
        if (!from || from->shape.size() != 4 || from->shape[0] * from->shape[1] != tiles ||
            from->shape[2] < patches || from->shape[3] != width || width * (n_kept + 1) != columns)
            return std::nullopt;
        std::vector<std::int64_t> positions;
        std::vector<std::size_t> slots;
        for (std::int64_t i = 0; i < places.count; ++i) {
            const std::int64_t at = places.start + i * places.stride, row = at / columns;
            const auto [own, channel] = origin(rule, at % columns, width, n_kept);
            if (own != static_cast<std::int64_t>(state))
                continue;
            positions.push_back((row / patches * from->shape[2] + row % patches) * width + channel);
            slots.push_back(static_cast<std::size_t>(i));
        }
        const std::vector<float> values = side.pick(states[state], positions);
        if (std::all_of(values.begin(), values.end(), [](float value) { return std::isnan(value); }))
            return std::nullopt;  // nothing is known of this state
        for (std::size_t i = 0; i < slots.size(); ++i)
            joined.values[slots[i]] = values[i];
    }
    return joined;
}

}  // namespace

Judgement judge_kept_states(const Pair& pair, const NameParts&)
{
    const std::string layers = fmt::format("layers {}", fmt::join(pair.b.facts().kept_layers, ", "));
    std::vector<StepRule> rules;
    for (const bool final_first : {true, false})
        for (const Layout layout : {Layout::interleaved, Layout::blocks, Layout::reversed})
            for (const KeptRule& kept : kept_rules()) {
                const bool usual = layout == Layout::interleaved && final_first;
                const char* const where = layout == Layout::interleaved ? "interleaved by channel"
                                          : layout == Layout::blocks    ? "one state after the other"
                                                                        : "interleaved in reverse";
                rules.push_back({usual                           ? kept.cause
                                 : layout == Layout::interleaved ? CauseName("final_state_last")
                                                                 : CauseName("interleaved_concat"),
                                 fmt::format("{}{} {}, {}", final_first ? "the final state and " : "",
                                             kept.text, layers, where) +
                                     (final_first ? "" : ", the final state last"),
                                 [rule = JoinRule{&kept, layout, final_first}](const Side& side) {
                                     return join_states(side, rule);
                                 }});
            }
    return judge_by_rules(pair, rules);
}

}  // namespace pictor
