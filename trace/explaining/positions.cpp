// What the vision side adds to tiles and patches: tile embeddings and positions.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"
#include "trace/explaining/tile_orders.h"

namespace pictor {
namespace {

// [image][tile][patch][channel], seen as one number per position.
struct Patches {
    std::vector<std::int64_t> shape;
    std::vector<double> values;
    double& value(std::int64_t tile, std::int64_t patch, std::int64_t channel)
    {
        return at(values, (tile * shape[2] + patch) * shape[3] + channel);
    }
    double value(std::int64_t tile, std::int64_t patch, std::int64_t channel) const
    {
        return at(values, (tile * shape[2] + patch) * shape[3] + channel);
    }
    std::int64_t tiles() const { return shape[0] * shape[1]; }
};

// What a step added: output minus input. An output with one more row per tile has the class token in front.
std::optional<Patches> added(const Side& side, const std::string& name)
{
    const Numbers out = side.find(name), in = side.find(side.inputs_of(name).front());
    if (!in || !out || in->shape.size() != 4 || out->shape.size() != 4 || in->shape[0] != out->shape[0] ||
        in->shape[1] != out->shape[1] || in->shape[3] != out->shape[3] ||
        (out->shape[2] != in->shape[2] && out->shape[2] != in->shape[2] + 1))
        return std::nullopt;
    const std::int64_t front = out->shape[2] - in->shape[2];
    Patches result{out->shape, std::vector<double>(out->values.begin(), out->values.end())};
    for (std::int64_t tile = 0; tile < result.tiles(); ++tile)
        for (std::int64_t patch = front; patch < out->shape[2]; ++patch)
            for (std::int64_t channel = 0; channel < out->shape[3]; ++channel)
                result.value(tile, patch, channel) -=
                    at(in->values, (tile * in->shape[2] + patch - front) * in->shape[3] + channel);
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
Patches with_tiles_from(const Patches& x,
                        const std::function<std::int64_t(std::int64_t image, std::int64_t tile)>& order)
{
    Patches result = x;
    for (std::int64_t image = 0; image < x.shape[0]; ++image)
        for (std::int64_t tile = 0; tile < x.shape[1]; ++tile) {
            const std::int64_t from = order(image, tile);
            for (std::int64_t patch = 0; patch < x.shape[2]; ++patch)
                for (std::int64_t channel = 0; channel < x.shape[3]; ++channel)
                    result.value(image * x.shape[1] + tile, patch, channel) =
                        from >= 0 && from < x.shape[1] ? x.value(image * x.shape[1] + from, patch, channel)
                                                       : 0;
        }
    return result;
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
    CauseName cause;
    std::string text;
    std::function<Patches(const Patches& right, const Patches& odd, const Side& side)> apply;
};

Judgement name_added(const Pair& pair, const Patches& a, const Patches& b, double floor,
                     const std::vector<AddedMistake>& mistakes, const std::string& what)
{
    Judgement judgement;
    const double before = furthest(a, b);
    judgement.verdict = Verdict::fault;
    judgement.text = fmt::format("{}: what is added differs by up to {}", what, amount(before));
    for (const bool odd_is_a : {true, false})
        for (const AddedMistake& mistake : mistakes) {
            const Patches& odd = odd_is_a ? a : b;
            const double after =
                furthest(mistake.apply(odd_is_a ? b : a, odd, odd_is_a ? pair.b : pair.a), odd);
            judgement.tested.push_back({fmt::format("{} adds {}", odd_is_a ? "a" : "b", mistake.text),
                                        mistake.cause, odd_is_a ? after : -1, odd_is_a ? -1 : after});
            if (judgement.causes.empty() && after <= 2 * floor && after < 0.02 * before)
                judgement.causes.push_back(
                    {mistake.cause,
                     fmt::format(
                         "{} adds {}: {} apart from what {} adds, {} once that is changed the same way",
                         odd_is_a ? "a" : "b", mistake.text, amount(before), odd_is_a ? "b" : "a",
                         amount(after)),
                     pair.name,
                     pair.a.step(),
                     before,
                     after,
                     {}});
        }
    if (!judgement.causes.empty())
        judgement.text = judgement.causes.front().text;
    return judgement;
}

// The tiles of each picture as a known mistake orders them.
Patches in_order(const TileOrder& wrong, const Patches& right, const Side& side)
{
    return with_tiles_from(right, [&](std::int64_t image, std::int64_t tile) {
        const auto [high, wide] = side.grid_of(image);
        return wrong.from(tile, {right.shape[1], high, wide});
    });
}

// What one parameter of the checkpoint, [ids][tiles x width], adds to the tiles of each picture.
std::vector<AddedMistake> tile_mistakes()
{
    std::vector<AddedMistake> mistakes{
        {"tile_embedding_missing", "nothing instead of the embeddings",
         [](const Patches& right, const Patches&, const Side&) { return times(right, 0); }}};
    for (const TileOrder& wrong : tile_orders)
        mistakes.push_back({wrong.cause, fmt::format("the embeddings {}", wrong.text),
                            [&wrong](const Patches& right, const Patches&, const Side& side) {
                                return in_order(wrong, right, side);
                            }});
    return mistakes;
}

const AddedMistake larger_gate{"gate_without_tanh",
                               "a constant multiple, larger than 1, of the embeddings (another gate)",
                               [](const Patches& right, const Patches& odd, const Side&) {
                                   return times(right, std::max(1.0, best_factor(right, odd)));
                               }};

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
    judgement.text = fmt::format(
        "other aspect_ratio_ids pick other rows of the embedding (what is added is {} apart)", amount(apart));
    return judgement;
}

double floor_of(const Pair& pair)
{
    return rounding_floor(*pair.a.find(pair.name), pair.a.rounding_of(pair.name)) +
           rounding_floor(*pair.b.find(pair.name), pair.b.rounding_of(pair.name));
}

// With the checkpoint the step itself is computed: the gate shares out between the table of tiles and, for
// positions, the plain one.
struct Shares {
    double (*tiles)(double gate);
    double (*plain)(double gate);
};

double tanh_of(double gate) { return std::tanh(gate); }
double rest_of_tanh(double gate) { return 1 - std::tanh(gate); }
double the_gate(double gate) { return gate; }
double rest_of_gate(double gate) { return 1 - gate; }
double one(double) { return 1; }
double none(double) { return 0; }

// Which row of the table an image's id picks, and in which order its tiles take what stands there.
struct TableRule {
    CauseName cause;
    std::string text;
    const char* plain_text;  // of positions
    Shares shares;
    std::int64_t id_offset = 0;
    const TileOrder* order = nullptr;  // nullptr: each tile its own
};

std::vector<TableRule> table_rules()
{
    static const char* const rest = "1 - tanh(gate)";
    static const Shares usual{tanh_of, rest_of_tanh};
    std::vector<TableRule> rules{
        {"", "tanh(gate) times the tile's embedding", rest, usual},
        {"one_minus_tanh", "tanh(gate) times the tile's embedding", "1", {tanh_of, one}},
        {"gate_without_tanh",
         "the gate itself times the tile's embedding",
         "1 - gate",
         {the_gate, rest_of_gate}},
        {"gate_missing", "the tile's embedding whole, without a gate", "1", {one, one}},
        {"gate_one_minus",
         "1 - tanh(gate) times the tile's embedding",
         "tanh(gate)",
         {rest_of_tanh, tanh_of}},
        {"tile_embedding_missing", "no tile's embedding", rest, {none, rest_of_tanh}},
        {"aspect_id_0", "tanh(gate) times the embedding of the id less one", rest, usual, -1}};
    for (const TileOrder& wrong : tile_orders)
        rules.push_back({wrong.cause, fmt::format("tanh(gate) times the embeddings {}", wrong.text), rest,
                         usual, 0, &wrong});
    return rules;
}

// The checkpoint's numbers for one such step; empty tables: it has none, or they are too large.
struct Tables {
    std::shared_ptr<const std::vector<float>> gate, tiles, plain, class_token;
};

Tables tables_of(const Side& side, const std::string& name)
{
    if (!side.weights())
        return {};
    const bool positions = name == "vision_model.gated_positional_embedding";
    Tables tables{side.weights()->find(name, "gate"),
                  side.weights()->find(name + (positions ? ".tile_embedding" : ".embedding"), "weight"),
                  nullptr, nullptr};
    if (positions) {
        tables.plain = side.weights()->find(name, "embedding");
        tables.class_token = side.weights()->find("vision_model", "class_embedding");
    }
    return tables;
}

// The step's input in the shape of its output: positions are added behind the class token, which each tile
// gets in front.
Numbers with_class_token(const Numbers& in, const std::vector<std::int64_t>& shape, const Tables& tables)
{
    if (!in || in->shape.size() != 4 || shape.size() != 4 || in->shape == shape)
        return in;
    const std::int64_t d = shape[3], n_patches = in->shape[2];
    if (in->shape != std::vector<std::int64_t>{shape[0], shape[1], shape[2] - 1, d} || !tables.class_token ||
        static_cast<std::int64_t>(tables.class_token->size()) != d)
        return nullptr;
    auto result = std::make_shared<TraceTensor>(TraceTensor{shape, {}});
    for (std::int64_t tile = 0; tile < shape[0] * shape[1]; ++tile) {
        result->values.insert(result->values.end(), tables.class_token->begin(), tables.class_token->end());
        result->values.insert(result->values.end(), in->values.begin() + tile * n_patches * d,
                              in->values.begin() + (tile + 1) * n_patches * d);
    }
    return result;
}

Predicted add_from_tables(const Side& side, const std::string& name, const TableRule& rule)
{
    const TraceEntry* const entry = side.entry(name);
    const Tables tables = tables_of(side, name);
    const Numbers ids = side.find("aspect_ratio_ids", 0);
    const Numbers in =
        entry ? with_class_token(side.find(side.inputs_of(name).front()), entry->shape, tables) : nullptr;
    if (!ids || !in || in->shape.size() != 4 || in->shape != entry->shape || !tables.gate ||
        tables.gate->empty() || !tables.tiles)
        return std::nullopt;
    const std::int64_t n_images = in->shape[0], n_tiles = in->shape[1], n_patches = in->shape[2],
                       d = in->shape[3];
    const std::int64_t per_tile = tables.plain ? n_patches * d : d,
                       of_row = std::max<std::int64_t>(1, n_tiles * per_tile);
    const std::int64_t n_rows = static_cast<std::int64_t>(tables.tiles->size()) / of_row;
    if (static_cast<std::int64_t>(ids->values.size()) != n_images ||
        (tables.plain && static_cast<std::int64_t>(tables.plain->size()) != per_tile))
        return std::nullopt;
    const double gate = tables.gate->front(), share = rule.shares.tiles(gate), rest = rule.shares.plain(gate);
    TraceTensor out = *in;
    for (std::int64_t image = 0; image < n_images; ++image)
        for (std::int64_t tile = 0; tile < n_tiles; ++tile) {
            const auto id = static_cast<std::int64_t>(at(ids->values, image)) + rule.id_offset;
            const auto [high, wide] = side.grid_of(image);
            const std::int64_t from = rule.order ? rule.order->from(tile, {n_tiles, high, wide}) : tile;
            const bool known = id >= 0 && id < n_rows && from >= 0 && from < n_tiles;
            const float* const row = tables.tiles->data() + (known ? (id * n_tiles + from) * per_tile : 0);
            float* const values = out.values.data() + (image * n_tiles + tile) * n_patches * d;
            for (std::int64_t i = 0; i < n_patches * d; ++i) {
                const double of_tile = known ? share * row[i % per_tile] : 0,
                             plain = tables.plain ? rest * at((*tables.plain), i) : 0;
                values[i] = static_cast<float>(values[i] + of_tile + plain);
            }
        }
    return out;
}

// Nothing where the checkpoint cannot tell.
std::optional<Judgement> judge_by_tables(const Pair& pair)
{
    std::vector<StepRule> rules;
    const bool positions = pair.name == "vision_model.gated_positional_embedding";
    for (const TableRule& rule : table_rules()) {
        if (!positions && rule.cause == CauseName("one_minus_tanh"))  // nothing plain is added here
            continue;
        const std::string plain =
            positions ? fmt::format(" + the plain positions times {}", rule.plain_text) : "";
        rules.push_back(
            {rule.cause, fmt::format("its input + {}{}", rule.text, plain),
             [rule, name = pair.name](const Side& side) { return add_from_tables(side, name, rule); }});
    }
    Judgement judgement = judge_by_rules(pair, rules);
    const bool named = judgement.verdict == Verdict::explained || !judgement.causes.empty();
    return named ? std::optional(judgement) : std::nullopt;
}

// A step that adds an embedding: what each trace added is its output less its input.
Judgement judge_added(const Pair& pair, const std::vector<AddedMistake>& mistakes, const std::string& what)
{
    if (std::optional<Judgement> known = judge_by_tables(pair))
        return *known;
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

Judgement judge_tile_embedding(const Pair& pair, const NameParts&)
{
    std::vector<AddedMistake> mistakes = tile_mistakes();
    mistakes.push_back(larger_gate);
    return judge_added(pair, mistakes, "tile embedding");
}

Judgement judge_positions(const Pair& pair, const NameParts&)
{
    std::vector<AddedMistake> mistakes = tile_mistakes();
    // The part that all tiles share is (1 - tanh(gate)) x position: where the difference is the same in every
    // tile, it is that part.
    mistakes.insert(
        mistakes.begin(),
        {"one_minus_tanh",
         "the same extra amount in every tile (the shared position, with another factor than 1 - tanh(gate))",
         [](const Patches& right, const Patches& odd, const Side&) {
             Patches result = right;
             for (std::int64_t tile = 0; tile < right.tiles(); ++tile)
                 for (std::int64_t patch = 0; patch < right.shape[2]; ++patch)
                     for (std::int64_t channel = 0; channel < right.shape[3]; ++channel)
                         result.value(tile, patch, channel) +=
                             odd.value(0, patch, channel) - right.value(0, patch, channel);
             return result;
         }});
    return judge_added(pair, mistakes, "positions");
}

}  // namespace pictor
