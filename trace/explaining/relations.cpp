// Where the same goes in and something else comes out: is one trace's tensor the other's in another order, or
// of another layer?
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/explain.h"
#include "trace/explaining/steps.h"
#include "trace/explaining/tile_orders.h"

namespace pictor {
namespace {

struct Relation {
    CauseName cause;
    std::string text;
    std::function<Predicted(const TraceTensor& right)> apply;  // what the odd one would be
};

// The odd one and the other one, and their names in a message.
struct Direction {
    const Side &odd, &right;
    const char *odd_name, *right_name;
    std::string of(const char* what) const { return fmt::format("{}'s {}", right_name, what); }
};

// The odd one's index along one axis comes from another index of the right one.
Predicted reorder(const TraceTensor& b, std::size_t axis, const std::vector<std::int64_t>& from)
{
    if (axis >= b.shape.size() || static_cast<std::int64_t>(from.size()) != b.shape[axis])
        return std::nullopt;
    TraceTensor result = b;
    const std::int64_t inner = width_of(b, b.shape.size() - 1 - axis), extent = b.shape[axis];
    for (std::int64_t outer = 0;
         outer < static_cast<std::int64_t>(b.values.size()) / std::max<std::int64_t>(1, inner * extent);
         ++outer)
        for (std::int64_t i = 0; i < extent; ++i) {
            const std::int64_t source = at(from, i);
            const auto to = result.values.begin() + (outer * extent + i) * inner;
            if (source < 0)
                std::fill_n(to, inner, 0.0f);
            else
                std::copy_n(b.values.begin() + (outer * extent + source) * inner, inner, to);
        }
    return result;
}

std::vector<std::int64_t> order(std::int64_t n, const std::function<std::int64_t(std::int64_t)>& from)
{
    std::vector<std::int64_t> result(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
        at(result, i) = from(i);
    return result;
}

std::size_t axis_of(const TraceEntry& entry, const char* word)
{
    return static_cast<std::size_t>(std::find(entry.axes.begin(), entry.axes.end(), word) -
                                    entry.axes.begin());
}

void add_orders_of_heads(const TraceEntry& entry, const Direction& direction,
                         std::vector<Relation>& relations)
{
    const std::size_t head = std::min(axis_of(entry, "head"), axis_of(entry, "kv_head")),
                      channel = axis_of(entry, "channel");
    if (channel >= entry.shape.size() || head + 1 != channel)
        return;
    const std::int64_t d = entry.shape[channel], heads = entry.shape[head], half = d / 2;
    if (d % 2 == 0) {
        relations.push_back({"query_key_permutation", direction.of("with each head's halves interleaved"),
                             [=](const TraceTensor& b) {
                                 return reorder(b, channel,
                                                order(d, [=](auto i) { return i % 2 * half + i / 2; }));
                             }});
        relations.push_back(
            {"query_key_permutation", direction.of("with each head's neighbours pulled into halves"),
             [=](const TraceTensor& b) {
                 return reorder(b, channel, order(d, [=](auto i) { return i % half * 2 + i / half; }));
             }});
    }
    relations.push_back(
        {"heads_reversed", direction.of("with the heads in reverse"), [=](const TraceTensor& b) {
             return reorder(b, head, order(heads, [=](auto i) { return heads - 1 - i; }));
         }});
    relations.push_back({"heads_and_channels_swapped", direction.of("cut into channels first, then heads"),
                         [=](const TraceTensor& b) -> Predicted {
                             TraceTensor result = b;
                             for (std::size_t i = 0; i < b.values.size(); ++i) {
                                 const auto place = static_cast<std::int64_t>(i) % (heads * d);
                                 result.values[i] = at(b.values, i - place + (place % d * heads + place / d));
                             }
                             return result;
                         }});
}

// Each known order of the tiles; the one that depends on the grid for each grid.
void add_orders_of_tiles(std::size_t axis, std::int64_t n, const Direction& direction,
                         std::vector<Relation>& relations)
{
    std::vector<TileGrid> grids;
    for (const auto& [high, wide] : direction.right.facts().aspect_ratios)
        if (high > 1 && wide > 1 && high * wide <= n)
            grids.push_back({n, high, wide});
    for (const TileOrder& wrong : tile_orders) {
        const bool by_grid = wrong.cause == CauseName("tiles_high_before_wide");
        for (const TileGrid& grid : by_grid ? grids : std::vector<TileGrid>{{n, 0, 0}})
            relations.push_back(
                {wrong.cause,
                 direction.of(wrong.text) + (by_grid ? fmt::format(" ({} x {})", grid.high, grid.wide) : ""),
                 [=](const TraceTensor& b) {
                     return reorder(b, axis, order(n, [=](auto tile) { return wrong.from(tile, grid); }));
                 }});
    }
}

// Tiles in another order, and patches column by column.
void add_orders_of_patches(const TraceEntry& entry, const Direction& direction,
                           std::vector<Relation>& relations)
{
    const std::size_t tile = axis_of(entry, "tile"), patch = axis_of(entry, "patch");
    if (tile < entry.shape.size())
        add_orders_of_tiles(tile, entry.shape[tile], direction, relations);
    if (patch < entry.shape.size()) {
        const std::int64_t n = entry.shape[patch], grid = direction.right.facts().n_patches - 1;
        const auto edge = static_cast<std::int64_t>(
            std::lround(std::sqrt(static_cast<double>(std::max<std::int64_t>(0, grid)))));
        const std::int64_t front = n >= grid + 1 ? 1 : 0;  // the class token
        if (edge > 1 && edge * edge == grid && n >= grid)
            relations.push_back(
                {"rows_and_columns_swapped", direction.of("with each tile's patches column by column"),
                 [=](const TraceTensor& b) {
                     return reorder(b, patch, order(n, [=](auto i) {
                                        return i < front || i >= front + grid
                                                   ? i
                                                   : front + (i - front) % edge * edge + (i - front) / edge;
                                    }));
                 }});
    }
}

void add_other_layers(const Direction& direction, const NameParts& parts, std::vector<Relation>& relations)
{
    for (const std::int64_t by : {1, -1}) {
        const std::int64_t layer = parts.layer + by;
        if (parts.module.empty() || layer < 0)
            continue;
        const std::string prefix = parts.module.substr(0, parts.module.rfind('.') + 1),
                          name = fmt::format("{}{}{}", prefix, layer,
                                             parts.leaf.empty() ? "" : "." + parts.leaf);
        if (direction.right.has(name))
            relations.push_back({"layers_shifted",
                                 direction.of(fmt::format("{}: the layers are shifted by one", name).c_str()),
                                 [&direction, name](const TraceTensor&) -> Predicted {
                                     const Numbers other = direction.right.find(name);
                                     return other ? Predicted(*other) : std::nullopt;
                                 }});
    }
}

void add_skipped_step(const Direction& direction, const std::string& name, std::vector<Relation>& relations)
{
    for (const std::string& input : direction.odd.inputs_of(name))
        relations.push_back({"step_skipped",
                             fmt::format("its input {} as it is: the step is left out", input),
                             [&direction, input](const TraceTensor&) -> Predicted {
                                 const Numbers x = direction.odd.find(input);
                                 return x ? Predicted(*x) : std::nullopt;
                             }});
}

Predicted times(TraceTensor x, double factor)
{
    for (float& value : x.values)
        value = static_cast<float>(value * factor);
    return x;
}

// c of a = c b by least squares.
double factor_between(const TraceTensor& a, const TraceTensor& b)
{
    double ab = 0, bb = 0;
    for (std::size_t i = 0; i < a.values.size(); ++i)
        if (std::fabs(a.values[i]) < 1e30 && std::fabs(b.values[i]) < 1e30) {
            ab += static_cast<double>(a.values[i]) * b.values[i];
            bb += static_cast<double>(b.values[i]) * b.values[i];
        }
    return bb > 0 ? ab / bb : 0;
}

}  // namespace

std::vector<Cause> test_relations(const Pair& pair, std::vector<Tested>& tested)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->values.size() != b->values.size() || a->values.empty())
        return {};
    const NameParts parts = split_name(pair.name);
    const Misfit before = misfit(Predicted(*b), *a);
    const double floor =
        rounding_floor(*a, pair.a.rounding_of(pair.name)) + rounding_floor(*b, pair.b.rounding_of(pair.name));
    std::vector<Cause> causes;
    for (const bool odd_is_a : {true, false}) {
        const Direction direction{odd_is_a ? pair.a : pair.b, odd_is_a ? pair.b : pair.a,
                                  odd_is_a ? "a" : "b", odd_is_a ? "b" : "a"};
        const TraceTensor &odd = odd_is_a ? *a : *b, &right = odd_is_a ? *b : *a;
        const TraceEntry& entry = *direction.right.entry(pair.name);
        std::vector<Relation> relations;
        add_orders_of_heads(entry, direction, relations);
        add_orders_of_patches(entry, direction, relations);
        add_other_layers(direction, parts, relations);
        add_skipped_step(direction, pair.name, relations);
        const double factor = factor_between(odd, right);
        relations.push_back({factor == 0 ? CauseName("zero") : CauseName("factor"),
                             fmt::format("{:.6g} times {}'s", factor, direction.right_name),
                             [factor](const TraceTensor& x) { return times(x, factor); }});
        for (const Relation& relation : relations) {
            const Misfit after = misfit(relation.apply(right), odd);
            if (!after.measured)
                continue;
            tested.push_back({fmt::format("{} is {}", direction.odd_name, relation.text), relation.cause,
                              odd_is_a ? after.max : -1, odd_is_a ? -1 : after.max});
            if (after.max <= 4 * floor && after.max < 0.02 * before.max)
                causes.push_back(
                    {relation.cause,
                     fmt::format("{} is {}: {} apart as they are, {} with that undone", direction.odd_name,
                                 relation.text, amount(before.max), amount(after.max)),
                     pair.name,
                     pair.a.step(),
                     before.max,
                     after.max,
                     {}});
        }
    }
    return causes;
}

}  // namespace pictor
