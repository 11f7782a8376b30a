// Where the same goes in and something else comes out: is a's tensor b's in another order, or b's of another layer?
#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "trace/explain/explain.h"
#include "trace/explain/steps.h"

namespace pictor {
namespace {

struct Relation {
    std::string cause, text;
    std::function<Predicted(const TraceTensor& b)> apply;   // what a would be
};

// a's index along one axis comes from another index of b.
Predicted reorder(const TraceTensor& b, std::size_t axis, const std::vector<std::int64_t>& from)
{
    if (axis >= b.shape.size() || static_cast<std::int64_t>(from.size()) != b.shape[axis])
        return std::nullopt;
    TraceTensor result = b;
    const std::int64_t inner = width_of(b, b.shape.size() - 1 - axis), extent = b.shape[axis];
    for (std::int64_t outer = 0; outer < static_cast<std::int64_t>(b.values.size()) / std::max<std::int64_t>(1, inner * extent); ++outer)
        for (std::int64_t i = 0; i < extent; ++i)
            std::copy_n(b.values.begin() + (outer * extent + from[static_cast<std::size_t>(i)]) * inner, inner, result.values.begin() + (outer * extent + i) * inner);
    return result;
}

std::vector<std::int64_t> order(std::int64_t n, const std::function<std::int64_t(std::int64_t)>& from)
{
    std::vector<std::int64_t> result(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
        result[static_cast<std::size_t>(i)] = from(i);
    return result;
}

std::size_t axis_of(const TraceEntry& entry, const char* word)
{
    return static_cast<std::size_t>(std::find(entry.axes.begin(), entry.axes.end(), word) - entry.axes.begin());
}

void add_orders_of_heads(const TraceEntry& entry, std::vector<Relation>& relations)
{
    const std::size_t head = std::min(axis_of(entry, "head"), axis_of(entry, "kv_head")), channel = axis_of(entry, "channel");
    if (channel >= entry.shape.size() || head + 1 != channel)
        return;
    const std::int64_t d = entry.shape[channel], heads = entry.shape[head], half = d / 2;
    if (d % 2 == 0) {
        relations.push_back({"query_key_permutation", "b's with each head's halves interleaved",
                             [=](const TraceTensor& b) { return reorder(b, channel, order(d, [=](auto i) { return i % 2 * half + i / 2; })); }});
        relations.push_back({"query_key_permutation", "b's with each head's neighbours pulled into halves",
                             [=](const TraceTensor& b) { return reorder(b, channel, order(d, [=](auto i) { return i % half * 2 + i / half; })); }});
    }
    relations.push_back({"heads_reversed", "b's with the heads in reverse", [=](const TraceTensor& b) { return reorder(b, head, order(heads, [=](auto i) { return heads - 1 - i; })); }});
    relations.push_back({"heads_and_channels_swapped", "b's cut into channels first, then heads", [=](const TraceTensor& b) -> Predicted {
        TraceTensor result = b;
        for (std::size_t i = 0; i < b.values.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i) % (heads * d);
            result.values[i] = b.values[i - static_cast<std::size_t>(at) + static_cast<std::size_t>(at % d * heads + at / d)];
        }
        return result;
    }});
}

// Tiles laid out [h][w] taken as [w][h], and patches column by column.
void add_orders_of_patches(const TraceEntry& entry, const Side& side, std::vector<Relation>& relations)
{
    const std::size_t tile = axis_of(entry, "tile"), patch = axis_of(entry, "patch");
    if (tile < entry.shape.size()) {
        const std::int64_t n = entry.shape[tile];
        for (const auto& [high, wide] : side.facts().aspect_ratios)
            if (high > 1 && wide > 1 && high * wide <= n)
                relations.push_back({"tiles_high_before_wide", fmt::format("b's with the {} x {} tiles column by column", high, wide),
                                     [=, high = high, wide = wide](const TraceTensor& b) { return reorder(b, tile, order(n, [=](auto i) { return i < high * wide ? i % high * wide + i / high : i; })); }});
        relations.push_back({"tiles_reversed", "b's with the tiles in reverse", [=](const TraceTensor& b) { return reorder(b, tile, order(n, [=](auto i) { return n - 1 - i; })); }});
    }
    if (patch < entry.shape.size()) {
        const std::int64_t n = entry.shape[patch], grid = side.facts().n_patches - 1;
        const auto edge = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(std::max<std::int64_t>(0, grid)))));
        const std::int64_t front = n >= grid + 1 ? 1 : 0;   // the class token
        if (edge > 1 && edge * edge == grid && n >= grid)
            relations.push_back({"rows_and_columns_swapped", "b's with each tile's patches column by column", [=](const TraceTensor& b) {
                return reorder(b, patch, order(n, [=](auto i) { return i < front || i >= front + grid ? i : front + (i - front) % edge * edge + (i - front) / edge; }));
            }});
    }
}

void add_other_layers(const Pair& pair, const NameParts& parts, std::vector<Relation>& relations)
{
    for (const std::int64_t by : {1, -1}) {
        const std::int64_t layer = parts.layer + by;
        if (parts.module.empty() || layer < 0)
            continue;
        const std::string prefix = parts.module.substr(0, parts.module.rfind('.') + 1), name = fmt::format("{}{}{}", prefix, layer, parts.leaf.empty() ? "" : "." + parts.leaf);
        if (pair.b.has(name))
            relations.push_back({"layers_shifted", fmt::format("b's {}: the layers are shifted by one", name), [&pair, name](const TraceTensor&) -> Predicted {
                const Numbers other = pair.b.find(name);
                return other ? Predicted(*other) : std::nullopt;
            }});
    }
}

// Rows of zeros, as a row mask makes them.
void add_row_masks(const Pair& pair, std::vector<Relation>& relations)
{
    for (const std::string& input : inputs_of(pair.b, pair.name))
        relations.push_back({"step_skipped", fmt::format("its input {} as it is: the step is left out", input), [&pair, input](const TraceTensor&) -> Predicted {
            const Numbers x = pair.a.find(input);
            return x ? Predicted(*x) : std::nullopt;
        }});
}

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
    const TraceEntry& entry = *pair.b.entry(pair.name);
    const NameParts parts = split_name(pair.name);
    std::vector<Relation> relations;
    add_orders_of_heads(entry, relations);
    add_orders_of_patches(entry, pair.b, relations);
    add_other_layers(pair, parts, relations);
    add_row_masks(pair, relations);
    const double factor = factor_between(*a, *b);
    relations.push_back({factor == 0 ? "zero" : "factor", fmt::format("{:.6g} times b's", factor), [factor](const TraceTensor& x) -> Predicted {
        TraceTensor result = x;
        for (float& value : result.values)
            value = static_cast<float>(value * factor);
        return result;
    }});

    const Misfit before = misfit(Predicted(*b), *a);
    const double floor = rounding_floor(*a, pair.a.rounding_of(pair.name)) + rounding_floor(*b, pair.b.rounding_of(pair.name));
    std::vector<Cause> causes;
    for (const Relation& relation : relations) {
        const Misfit after = misfit(relation.apply(*b), *a);
        if (!after.measured)
            continue;
        tested.push_back({"a is " + relation.text, relation.cause, after.max, -1});
        if (after.max <= 4 * floor && after.max < 0.02 * before.max)
            causes.push_back({relation.cause, fmt::format("a is {}: apart by {} before, {} after", relation.text, amount(before.max), amount(after.max)),
                              pair.name, pair.a.step(), before.max, after.max, {}});
    }
    return causes;
}

}  // namespace pictor
