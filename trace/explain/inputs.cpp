// What goes into the model: ids, pixels, masks; and the first thing made of them, the embeddings.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "trace/explain/steps.h"

namespace pictor {
namespace {

Judgement fault(const Pair& pair, const char* cause, std::string text, double before, double after)
{
    Judgement judgement;
    judgement.verdict = Verdict::fault;
    judgement.text = text;
    if (*cause != 0)
        judgement.causes.push_back({cause, std::move(text), pair.name, pair.a.step(), before, after, {}});
    return judgement;
}

Judgement unknown(std::string text)
{
    Judgement judgement;
    judgement.text = std::move(text);
    return judgement;
}

double furthest(const std::vector<float>& x, const std::vector<float>& y)
{
    double most = 0;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
        most = std::max(most, std::fabs(static_cast<double>(x[i]) - y[i]));
    return most;
}

std::int64_t best_index(const TraceTensor& logits)
{
    const auto row = logits.values.end() - width_of(logits);
    return std::max_element(row, logits.values.end()) - row;
}

// A decode step's token is the best of the logits before it.
Judgement judge_chosen_token(const Pair& pair, const TraceTensor& a, const TraceTensor& b)
{
    const Numbers logits_a = pair.a.find("lm_head", pair.a.step() - 1), logits_b = pair.b.find("lm_head", pair.b.step() - 1);
    if (!logits_a || !logits_b || a.values.empty() || b.values.empty() || logits_a->values.empty() || logits_b->values.empty())
        return unknown("the logits before it are not recorded");
    const bool best_a = best_index(*logits_a) == static_cast<std::int64_t>(a.values.back()), best_b = best_index(*logits_b) == static_cast<std::int64_t>(b.values.back());
    if (best_a && best_b) {
        Judgement judgement;
        judgement.verdict = Verdict::explained;
        judgement.text = "each is the best of its own logits";
        return judgement;
    }
    return fault(pair, "chosen_token", fmt::format("{} chose {}, which is not the best of its logits ({})", best_b ? "a" : "b",
                                                   best_b ? a.values.back() : b.values.back(), best_index(best_b ? *logits_a : *logits_b)), 1, 0);
}

// Pixels of every tile, [image tile colour row column], with colours, tiles or scale mistaken.
struct PixelMistake {
    const char* cause;
    const char* text;
    std::function<std::optional<std::vector<float>>(const TraceTensor& right, const ModelFacts&)> apply;
};

std::vector<float> by_colour(const TraceTensor& x, const std::function<double(std::int64_t colour, double value)>& f)
{
    std::vector<float> result = x.values;
    const std::int64_t of_colour = width_of(x, 2), colours = x.shape[2];
    for (std::size_t i = 0; i < result.size(); ++i)
        result[i] = static_cast<float>(f(static_cast<std::int64_t>(i) / of_colour % colours, x.values[i]));
    return result;
}

std::vector<PixelMistake> pixel_mistakes()
{
    const auto colour_mistake = [](const char* cause, const char* text, std::function<double(double pixel, double mean, double std)> f) {
        return PixelMistake{cause, text, [f](const TraceTensor& x, const ModelFacts& facts) -> std::optional<std::vector<float>> {
            if (facts.pixel_mean.size() != 3 || facts.pixel_std.size() != 3 || x.shape[2] != 3)
                return std::nullopt;
            return by_colour(x, [&](std::int64_t colour, double value) {
                const double mean = facts.pixel_mean[static_cast<std::size_t>(colour)], std = facts.pixel_std[static_cast<std::size_t>(colour)];
                return f(value * std + mean, mean, std);   // the pixel itself, 0 to 1
            });
        }};
    };
    std::vector<PixelMistake> mistakes{
        colour_mistake("pixels_not_normalised", "pixels from 0 to 1, not normalised", [](double pixel, double, double) { return pixel; }),
        colour_mistake("pixels_not_rescaled", "pixels from 0 to 255, normalised without 1/255", [](double pixel, double mean, double std) { return (255 * pixel - mean) / std; }),
        colour_mistake("mean_and_std_swapped", "mean and std swapped", [](double pixel, double mean, double std) { return (pixel - std) / mean; }),
        colour_mistake("pixel_range", "pixels from -1 to 1 by mean and std of 0.5", [](double pixel, double, double) { return (pixel - 0.5) / 0.5; }),
        colour_mistake("std_not_divided", "multiplied by std instead of divided", [](double pixel, double mean, double std) { return (pixel - mean) * std; })};
    mistakes.push_back({"colour_order", "colours in the order blue, green, red", [](const TraceTensor& x, const ModelFacts& facts) -> std::optional<std::vector<float>> {
        if (facts.pixel_mean.size() != 3 || facts.pixel_std.size() != 3 || x.shape[2] != 3)
            return std::nullopt;
        std::vector<float> result = x.values;
        const std::int64_t of_colour = width_of(x, 2);
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(result.size()); ++i) {
            const auto colour = static_cast<std::size_t>(i / of_colour % 3), other = 2 - colour;
            const double pixel = x.values[static_cast<std::size_t>(i + (static_cast<std::int64_t>(other) - static_cast<std::int64_t>(colour)) * of_colour)] * facts.pixel_std[other] + facts.pixel_mean[other];
            result[static_cast<std::size_t>(i)] = static_cast<float>((pixel - facts.pixel_mean[colour]) / facts.pixel_std[colour]);
        }
        return result;
    }});
    // Padding is black before it is normalised, -mean / std; padded afterwards it is 0.
    mistakes.push_back({"pad_after_normalise", "padding of 0 where it should be -mean / std", [](const TraceTensor& x, const ModelFacts& facts) -> std::optional<std::vector<float>> {
        if (facts.pixel_mean.size() != 3 || facts.pixel_std.size() != 3 || x.shape[2] != 3)
            return std::nullopt;
        return by_colour(x, [&](std::int64_t colour, double value) {
            const double black = -facts.pixel_mean[static_cast<std::size_t>(colour)] / facts.pixel_std[static_cast<std::size_t>(colour)];
            return std::fabs(value - black) < 1e-5 ? 0.0 : value;
        });
    }});
    const auto turned = [](const TraceTensor& x, const std::function<std::int64_t(std::int64_t tile)>& from) {
        std::vector<float> result = x.values;
        const std::int64_t size = width_of(x, 3), tiles = x.shape[1];
        for (std::int64_t at = 0; at < x.shape[0] * tiles; ++at)
            std::copy_n(x.values.begin() + (at / tiles * tiles + from(at % tiles)) * size, size, result.begin() + at * size);
        return result;
    };
    mistakes.push_back({"tiles_high_before_wide", "tiles cut column by column", [turned](const TraceTensor& x, const ModelFacts&) -> std::optional<std::vector<float>> {
        if (x.shape[1] != 4)
            return std::nullopt;
        return turned(x, [](std::int64_t tile) { return tile % 2 * 2 + tile / 2; });
    }});
    mistakes.push_back({"rows_and_columns_swapped", "rows and columns swapped", [](const TraceTensor& x, const ModelFacts&) -> std::optional<std::vector<float>> {
        const std::int64_t size = x.shape[3];
        if (x.shape[4] != size)
            return std::nullopt;
        std::vector<float> result = x.values;
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(result.size()); ++i) {
            const std::int64_t plane = i / (size * size), row = i / size % size, column = i % size;
            result[static_cast<std::size_t>(i)] = x.values[static_cast<std::size_t>((plane * size + column) * size + row)];
        }
        return result;
    }});
    return mistakes;
}

}  // namespace

Judgement judge_input_ids(const Pair& pair)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b)
        return unknown("not held whole in both traces");
    if (pair.a.step() > 0)
        return judge_chosen_token(pair, *a, *b);
    const auto doubled = [](const std::vector<float>& longer, const std::vector<float>& shorter) {
        return longer.size() == shorter.size() + 1 && longer.size() > 1 && longer[0] == longer[1] && std::equal(shorter.begin(), shorter.end(), longer.begin() + 1);
    };
    if (doubled(a->values, b->values) || doubled(b->values, a->values))
        return fault(pair, "bos_doubled", fmt::format("{} begins with token {} twice", a->values.size() > b->values.size() ? "a" : "b", a->values.front()), 1, 0);
    std::size_t same = 0;
    while (same < std::min(a->values.size(), b->values.size()) && a->values[same] == b->values[same])
        ++same;
    const auto both_image = [&](float x, float y) { return (x == 128011 && y == 128256) || (x == 128256 && y == 128011); };
    if (same < std::min(a->values.size(), b->values.size()) && both_image(a->values[same], b->values[same]))
        return fault(pair, "image_id_of_tokenizer", fmt::format("{} has the tokenizer's <|image|>, 128011, where the model's is 128256", a->values[same] == 128011 ? "a" : "b"), 1, 0);
    return fault(pair, "", fmt::format("the prompts are other ones: from token {} on", same), 1, 0);
}

Judgement judge_pixels(const Pair& pair)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->shape != b->shape || a->shape.size() != 5)
        return unknown("not held whole and in the same shape in both traces");
    Judgement judgement = fault(pair, "", "the pictures that go in are other ones", 0, 0);
    const double before = furthest(a->values, b->values);
    for (const bool odd_is_a : {true, false})
        for (const PixelMistake& mistake : pixel_mistakes()) {
            const auto mistaken = mistake.apply(odd_is_a ? *b : *a, pair.a.facts());
            if (!mistaken)
                continue;
            const double after = furthest(*mistaken, odd_is_a ? a->values : b->values);
            judgement.tested.push_back({fmt::format("{}: {}", odd_is_a ? "a" : "b", mistake.text), mistake.cause, odd_is_a ? after : -1, odd_is_a ? -1 : after});
            if (judgement.causes.empty() && after < 0.01 * before)
                judgement.causes.push_back({mistake.cause, fmt::format("{} has {}: apart by {} before, {} after", odd_is_a ? "a" : "b", mistake.text, amount(before), amount(after)),
                                            pair.name, pair.a.step(), before, after, {}});
        }
    if (!judgement.causes.empty())
        judgement.text = judgement.causes.front().text;
    return judgement;
}

Judgement judge_aspect_ratio_ids(const Pair& pair)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->values.size() != b->values.size() || a->values.empty())
        return unknown("not held whole in both traces");
    bool one_less = true, one_more = true, a_zero = true;
    for (std::size_t i = 0; i < a->values.size(); ++i) {
        one_less = one_less && a->values[i] == b->values[i] - 1;
        one_more = one_more && a->values[i] == b->values[i] + 1;
        a_zero = a_zero && a->values[i] == 0;
    }
    if (one_less || one_more)
        return fault(pair, "aspect_id_off_by_one", fmt::format("ids of {} are one less than those of {}: 0 stands for no picture, the first grid is 1", one_less ? "a" : "b", one_less ? "b" : "a"), 1, 0);
    const ModelFacts& facts = pair.a.facts();
    bool turned = true;
    for (std::size_t i = 0; i < a->values.size(); ++i) {
        const auto x = static_cast<std::int64_t>(a->values[i]) - 1, y = static_cast<std::int64_t>(b->values[i]) - 1, n = static_cast<std::int64_t>(facts.aspect_ratios.size());
        turned = turned && x >= 0 && y >= 0 && x < n && y < n && facts.aspect_ratios[static_cast<std::size_t>(x)].first == facts.aspect_ratios[static_cast<std::size_t>(y)].second &&
                 facts.aspect_ratios[static_cast<std::size_t>(x)].second == facts.aspect_ratios[static_cast<std::size_t>(y)].first;
    }
    if (turned)
        return fault(pair, "tiles_high_before_wide", "the grids are turned: (w, h) in one, (h, w) in the other", 1, 0);
    return fault(pair, a_zero ? "aspect_id_0" : "", a_zero ? "a says 0, no picture" : "the pictures have other grids", 1, 0);
}

Judgement judge_cross_mask(const Pair& pair)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->shape != b->shape || a->shape.size() != 3)
        return unknown("not held whole and in the same shape in both traces");
    const auto count = [](const Numbers& x, float v) { return std::count(x->values.begin(), x->values.end(), v); };
    const auto size = static_cast<std::ptrdiff_t>(a->values.size());
    if (pair.a.step() > 0 && (count(a, 0) == size || count(b, 0) == size))
        return fault(pair, "generated_tokens_with_several_images", fmt::format("{} lets generated tokens see no picture, {} lets them", count(a, 0) == size ? "a" : "b", count(a, 0) == size ? "b" : "a"), 1, 0);
    if (count(a, 1) == size || count(b, 1) == size)
        return fault(pair, "cross_mask_missing", fmt::format("{} lets every row see every tile", count(a, 1) == size ? "a" : "b"), 1, 0);
    const std::int64_t width = a->shape[1] * a->shape[2], rows = a->shape[0];
    for (const std::int64_t shift : {1, -1}) {
        bool same = rows > 1;
        for (std::int64_t row = std::max<std::int64_t>(0, shift); row < std::min(rows, rows + shift) && same; ++row)
            same = std::equal(a->values.begin() + row * width, a->values.begin() + (row + 1) * width, b->values.begin() + (row - shift) * width);
        if (same)
            return fault(pair, "row_mask_shifted", fmt::format("the rows of a stand one token {}", shift > 0 ? "later" : "earlier"), 1, 0);
    }
    return fault(pair, "", "other rows may see other tiles", 1, 0);
}

Judgement judge_row_mask(const Pair& pair)
{
    return judge_by_rules(pair, {{"", "1 where the row of cross_attention_mask sees any tile", [](const Side& side) -> Predicted {
        const Numbers mask = side.find("cross_attention_mask");
        if (!mask || mask->shape.size() != 3 || mask->shape[1] * mask->shape[2] == 0)
            return std::nullopt;
        TraceTensor sees{{mask->shape[0]}, {}};
        const std::int64_t width = mask->shape[1] * mask->shape[2];
        for (std::int64_t row = 0; row < mask->shape[0]; ++row)
            sees.values.push_back(std::any_of(mask->values.begin() + row * width, mask->values.begin() + (row + 1) * width, [](float v) { return v != 0; }) ? 1.0f : 0.0f);
        return sees;
    }}});
}

// Rows of one table: equal ids, equal rows, in whichever trace.
Judgement judge_embeddings(const Pair& pair)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name), ids_a = pair.a.find("input_ids"), ids_b = pair.b.find("input_ids");
    if (!a || !b || !ids_a || !ids_b || a->shape.size() != 2 || b->shape.size() != 2 || a->shape[1] != b->shape[1] ||
        a->shape[0] != static_cast<std::int64_t>(ids_a->values.size()) || b->shape[0] != static_cast<std::int64_t>(ids_b->values.size()))
        return unknown("input_ids are not recorded in both traces");
    const std::int64_t width = a->shape[1];
    double before = 0, xx = 0, xy = 0;
    std::int64_t compared = 0;
    for (std::size_t i = 0; i < ids_a->values.size(); ++i) {
        const auto j = static_cast<std::size_t>(std::find(ids_b->values.begin(), ids_b->values.end(), ids_a->values[i]) - ids_b->values.begin());
        if (j == ids_b->values.size())
            continue;
        ++compared;
        for (std::int64_t c = 0; c < width; ++c) {
            const double x = a->values[i * static_cast<std::size_t>(width) + static_cast<std::size_t>(c)], y = b->values[j * static_cast<std::size_t>(width) + static_cast<std::size_t>(c)];
            before = std::max(before, std::fabs(x - y));
            xx += y * y;
            xy += x * y;
        }
    }
    const double floor = rounding_floor(*a, pair.a.rounding_of(pair.name)) + rounding_floor(*b, pair.b.rounding_of(pair.name));
    if (before <= floor) {
        Judgement judgement;
        judgement.verdict = Verdict::explained;
        judgement.text = compared > 0 ? "equal ids have equal rows in both" : "no id occurs in both";
        return judgement;
    }
    const double factor = xx > 0 ? xy / xx : 0, root = std::sqrt(static_cast<double>(width));
    for (const bool odd_is_a : {true, false})
        if (std::fabs(factor * (odd_is_a ? 1 / root : root) - 1) < 1e-3)
            return fault(pair, "embedding_scaled", fmt::format("{} multiplies the embeddings by sqrt(d_model)", odd_is_a ? "a" : "b"), before, 0);
    return fault(pair, "", fmt::format("equal ids have other rows in the two (up to {} apart): another table, or other rows of it", amount(before)), before, 0);
}

}  // namespace pictor
