// The vision side's own steps: what is added to tiles and patches, and the states kept for the projector.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "trace/explain/steps.h"

namespace pictor {
namespace {

// [image][tile][patch][channel], seen as one number per position.
struct Patches {
    std::vector<std::int64_t> shape;
    std::vector<double> values;
    double& at(std::int64_t tile, std::int64_t patch, std::int64_t channel)
    {
        return values[static_cast<std::size_t>((tile * shape[2] + patch) * shape[3] + channel)];
    }
    double at(std::int64_t tile, std::int64_t patch, std::int64_t channel) const
    {
        return values[static_cast<std::size_t>((tile * shape[2] + patch) * shape[3] + channel)];
    }
    std::int64_t tiles() const { return shape[0] * shape[1]; }
};

// What a step added: output minus input. An output with one more row per tile has the class token in front.
std::optional<Patches> added(const Side& side, const std::string& name)
{
    const Numbers out = side.find(name), in = side.find(inputs_of(side, name).front());
    if (!in || !out || in->shape.size() != 4 || out->shape.size() != 4 || in->shape[0] != out->shape[0] || in->shape[1] != out->shape[1] ||
        in->shape[3] != out->shape[3] || (out->shape[2] != in->shape[2] && out->shape[2] != in->shape[2] + 1))
        return std::nullopt;
    const std::int64_t front = out->shape[2] - in->shape[2];
    Patches result{out->shape, std::vector<double>(out->values.begin(), out->values.end())};
    for (std::int64_t tile = 0; tile < result.tiles(); ++tile)
        for (std::int64_t patch = front; patch < out->shape[2]; ++patch)
            for (std::int64_t channel = 0; channel < out->shape[3]; ++channel)
                result.at(tile, patch, channel) -= in->values[static_cast<std::size_t>((tile * in->shape[2] + patch - front) * in->shape[3] + channel)];
    return result;
}

double furthest(const Patches& x, const Patches& y)
{
    double most = 0;
    for (std::size_t i = 0; i < x.values.size(); ++i)
        most = std::max(most, std::fabs(x.values[i] - y.values[i]));
    return most;
}

// Tiles of each picture in another order: tile t of the result is tile order(t) of x.
Patches with_tiles_from(const Patches& x, const std::function<std::int64_t(std::int64_t image, std::int64_t tile)>& order)
{
    Patches result = x;
    for (std::int64_t image = 0; image < x.shape[0]; ++image)
        for (std::int64_t tile = 0; tile < x.shape[1]; ++tile) {
            const std::int64_t from = order(image, tile);
            for (std::int64_t patch = 0; patch < x.shape[2]; ++patch)
                for (std::int64_t channel = 0; channel < x.shape[3]; ++channel)
                    result.at(image * x.shape[1] + tile, patch, channel) =
                        from >= 0 && from < x.shape[1] ? x.at(image * x.shape[1] + from, patch, channel) : 0;
        }
    return result;
}

std::pair<std::int64_t, std::int64_t> grid_of(const Side& side, std::int64_t image)
{
    const Numbers ids = side.find("aspect_ratio_ids", 0);
    const ModelFacts& facts = side.facts();
    const auto index = ids && image < static_cast<std::int64_t>(ids->values.size()) ? static_cast<std::int64_t>(ids->values[static_cast<std::size_t>(image)]) - 1 : -1;
    return index >= 0 && index < static_cast<std::int64_t>(facts.aspect_ratios.size()) ? facts.aspect_ratios[static_cast<std::size_t>(index)] : std::pair<std::int64_t, std::int64_t>{0, 0};
}

// The factor c of y = c x by least squares.
double best_factor(const Patches& x, const Patches& y)
{
    double xx = 0, xy = 0;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        xx += x.values[i] * x.values[i];
        xy += x.values[i] * y.values[i];
    }
    return xx > 0 ? xy / xx : 0;
}

Patches times(Patches x, double factor)
{
    for (double& value : x.values)
        value *= factor;
    return x;
}

// What b added, turned by a mistake, against what a added; then the other way round.
struct AddedMistake {
    const char* cause;
    const char* text;
    std::function<Patches(const Patches& right, const Patches& odd, const Side& side)> apply;
};

Judgement name_added(const Pair& pair, const Patches& a, const Patches& b, double floor, const std::vector<AddedMistake>& mistakes, const std::string& what)
{
    Judgement judgement;
    const double before = furthest(a, b);
    judgement.verdict = Verdict::fault;
    judgement.text = fmt::format("{}: what is added differs by up to {}", what, amount(before));
    for (const bool odd_is_a : {true, false})
        for (const AddedMistake& mistake : mistakes) {
            const Patches& odd = odd_is_a ? a : b;
            const double after = furthest(mistake.apply(odd_is_a ? b : a, odd, odd_is_a ? pair.b : pair.a), odd);
            judgement.tested.push_back({fmt::format("{} adds {}", odd_is_a ? "a" : "b", mistake.text), mistake.cause, odd_is_a ? after : -1, odd_is_a ? -1 : after});
            if (judgement.causes.empty() && after <= 2 * floor && after < 0.02 * before)
                judgement.causes.push_back({mistake.cause,
                                            fmt::format("{} adds {} that {} adds: apart by {} before, {} after", odd_is_a ? "a" : "b", mistake.text,
                                                        odd_is_a ? "b" : "a", amount(before), amount(after)),
                                            pair.name, pair.a.step(), before, after, {}});
        }
    if (!judgement.causes.empty())
        judgement.text = judgement.causes.front().text;
    return judgement;
}

Patches transpose_grid(const Patches& right, const Patches&, const Side& side)
{
    return with_tiles_from(right, [&](std::int64_t image, std::int64_t tile) {
        const auto [high, wide] = grid_of(side, image);
        return high * wide > tile ? tile % high * wide + tile / high : tile;   // laid out column by column
    });
}

// What one parameter of the checkpoint, [ids][tiles x width], adds to the tiles of each picture.
const std::vector<AddedMistake>& tile_mistakes()
{
    static const std::vector<AddedMistake> mistakes{
        {"tile_embedding_missing", "nothing instead of the tile embedding", [](const Patches& right, const Patches&, const Side&) { return times(right, 0); }},
        {"tiles_high_before_wide", "with the tiles laid out (w, h) the embeddings", transpose_grid},
        {"tiles_reversed", "in reverse the tile embeddings",
         [](const Patches& right, const Patches&, const Side&) { return with_tiles_from(right, [&](std::int64_t, std::int64_t tile) { return right.shape[1] - 1 - tile; }); }},
        {"tile_off_by_one", "one tile late the embeddings",
         [](const Patches& right, const Patches&, const Side&) { return with_tiles_from(right, [](std::int64_t, std::int64_t tile) { return tile - 1; }); }},
        {"first_tile_everywhere", "to every tile the embedding of the first",
         [](const Patches& right, const Patches&, const Side&) { return with_tiles_from(right, [](std::int64_t, std::int64_t) { return std::int64_t{0}; }); }},
        {"gate_without_tanh", "a constant multiple of the embeddings (another gate)",
         [](const Patches& right, const Patches& odd, const Side&) { return times(right, best_factor(right, odd)); }}};
    return mistakes;
}

// Other ids pick other rows of the table: that is the ids' fault, not this step's.
bool other_ids(const Pair& pair)
{
    const Numbers a = pair.a.find("aspect_ratio_ids", 0), b = pair.b.find("aspect_ratio_ids", 0);
    return a && b && a->values != b->values;
}

Judgement other_rows_picked(double apart)
{
    Judgement judgement;
    judgement.verdict = Verdict::likely;
    judgement.text = fmt::format("other aspect_ratio_ids pick other rows of the embedding (what is added is {} apart)", amount(apart));
    return judgement;
}

double floor_of(const Pair& pair)
{
    return rounding_floor(*pair.a.find(pair.name), pair.a.rounding_of(pair.name)) + rounding_floor(*pair.b.find(pair.name), pair.b.rounding_of(pair.name));
}

struct KeptRule {
    const char* cause;
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

// A step that adds an embedding: what each trace added is its output less its input.
Judgement judge_added(const Pair& pair, const std::vector<AddedMistake>& mistakes, const std::string& what)
{
    const auto a = added(pair.a, pair.name), b = added(pair.b, pair.name);
    Judgement judgement;
    if (!a || !b || a->shape != b->shape) {
        judgement.text = "what it is added to is not recorded in both traces";
        return judgement;
    }
    const double floor = floor_of(pair);
    if (furthest(*a, *b) <= floor) {
        judgement.verdict = Verdict::explained;
        judgement.text = fmt::format("both add the same (to {})", amount(furthest(*a, *b)));
        return judgement;
    }
    if (other_ids(pair))
        return other_rows_picked(furthest(*a, *b));
    return name_added(pair, *a, *b, floor, mistakes, what);
}

}  // namespace

Judgement judge_tile_embedding(const Pair& pair)
{
    return judge_added(pair, tile_mistakes(), "tile embedding");
}

Judgement judge_positions(const Pair& pair)
{
    std::vector<AddedMistake> mistakes = tile_mistakes();
    mistakes.pop_back();
    // The part that all tiles share is (1 - tanh(gate)) x position: where the difference is the same in every tile, it is that part.
    mistakes.insert(mistakes.begin(), {"one_minus_tanh", "in every tile the same amount more (the shared position, with another factor than 1 - tanh) than",
        [](const Patches& right, const Patches& odd, const Side&) {
            Patches result = right;
            for (std::int64_t tile = 0; tile < right.tiles(); ++tile)
                for (std::int64_t patch = 0; patch < right.shape[2]; ++patch)
                    for (std::int64_t channel = 0; channel < right.shape[3]; ++channel)
                        result.at(tile, patch, channel) += odd.at(0, patch, channel) - right.at(0, patch, channel);
            return result;
        }});
    return judge_added(pair, mistakes, "positions");
}

Judgement judge_kept_states(const Pair& pair)
{
    const std::string layers = fmt::format("layers {}", fmt::join(pair.b.facts().kept_layers, ", "));
    std::vector<Rule> rules;
    for (const bool final_first : {true, false})
        for (const Layout layout : {Layout::interleaved, Layout::blocks, Layout::reversed})
            for (const KeptRule& kept : kept_rules()) {
                const bool usual = layout == Layout::interleaved && final_first;
                const char* const where = layout == Layout::interleaved ? "interleaved by channel" : layout == Layout::blocks ? "one state behind the other" : "interleaved in reverse";
                rules.push_back({usual ? kept.cause : layout == Layout::interleaved ? "final_state_last" : "interleaved_concat",
                                 fmt::format("{}{} {}, {}", final_first ? "the final state and " : "", kept.text, layers, where) + (final_first ? "" : ", the final state last"),
                                 [rule = JoinRule{&kept, layout, final_first}](const Side& side) { return join_states(side, rule); }});
            }
    return judge_by_rules(pair, rules);
}

}  // namespace pictor
