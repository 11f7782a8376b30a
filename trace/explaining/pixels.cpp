// The pixels that go in, [image tile colour row column]: which mistake turns one trace's into the other's?
#include <algorithm>
#include <cmath>
#include <functional>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"
#include "trace/explaining/tile_orders.h"

namespace pictor {
namespace {

// What the odd one's would be by one mistake; nothing where it cannot be made.
using Mistaken = std::optional<std::vector<float>>;

double furthest(const std::vector<float>& x, const std::vector<float>& y)
{
    double most = 0;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i)
        most = std::max(most, std::fabs(static_cast<double>(x[i]) - y[i]));
    return most;
}

bool colours_known(const TraceTensor& pixels, const Side& side)
{
    const ModelFacts& facts = side.facts();
    return facts.pixel_mean.size() == 3 && facts.pixel_std.size() == 3 && pixels.shape[2] == 3;
}

// 1 for a tile that is there; an absent one is zeros, not a picture.
std::vector<char> tiles_present(const TraceTensor& pixels)
{
    std::vector<char> present;
    const std::int64_t of_tile = width_of(pixels, 3);
    for (std::int64_t tile = 0; tile < rows_of(pixels, 3); ++tile)
        present.push_back(std::any_of(pixels.values.begin() + tile * of_tile,
                                      pixels.values.begin() + (tile + 1) * of_tile,
                                      [](float v) { return v != 0; }));
    return present;
}

// What a pixel of 0 to 1 becomes; rightly (pixel - mean) / std.
struct ColourMistake {
    CauseName cause;
    const char* text;
    double (*normalise)(double pixel, double mean, double std);
};

const ColourMistake colour_mistakes[] = {
    {"pixels_not_normalised", "pixels from 0 to 1, not normalised",
     [](double pixel, double, double) { return pixel; }},
    {"pixels_not_rescaled", "pixels from 0 to 255, normalised without 1/255",
     [](double pixel, double mean, double std) { return (255 * pixel - mean) / std; }},
    {"mean_and_std_swapped", "mean and std swapped",
     [](double pixel, double mean, double std) { return (pixel - std) / mean; }},
    {"pixel_range", "pixels from -1 to 1 by mean and std of 0.5",
     [](double pixel, double, double) { return (pixel - 0.5) / 0.5; }},
    {"std_not_divided", "the mean subtracted, but not divided by std",
     [](double pixel, double mean, double) { return pixel - mean; }},
    {"std_not_divided", "multiplied by std instead of divided",
     [](double pixel, double mean, double std) { return (pixel - mean) * std; }}};

// Every number anew, by its place and its colour.
Mistaken each_pixel(const TraceTensor& right, const Side& side,
                    const std::function<double(std::size_t at, std::size_t colour)>& pixel)
{
    if (!colours_known(right, side))
        return std::nullopt;
    std::vector<float> result = right.values;
    const auto of_colour = static_cast<std::size_t>(width_of(right, 2));
    for (std::size_t at = 0; at < result.size(); ++at)
        result[at] = static_cast<float>(pixel(at, at / of_colour % 3));
    return result;
}

Mistaken normalised_otherwise(const ColourMistake& mistake, const TraceTensor& right, const Side& side)
{
    const ModelFacts& facts = side.facts();
    const std::vector<char> present = tiles_present(right);
    const auto of_tile = static_cast<std::size_t>(width_of(right, 3));
    return each_pixel(right, side, [&](std::size_t at, std::size_t colour) -> double {
        const double mean = facts.pixel_mean[colour], std = facts.pixel_std[colour], value = right.values[at];
        return present[at / of_tile] ? mistake.normalise(value * std + mean, mean, std) : value;
    });
}

Mistaken blue_first(const TraceTensor& right, const TraceTensor&, const Side& side)
{
    const ModelFacts& facts = side.facts();
    const std::vector<char> present = tiles_present(right);
    const auto of_tile = static_cast<std::size_t>(width_of(right, 3)), of_colour = of_tile / 3;
    return each_pixel(right, side, [&](std::size_t at, std::size_t colour) -> double {
        if (!present[at / of_tile])
            return right.values[at];
        const std::size_t other = 2 - colour;
        const double pixel =
            right.values[at - colour * of_colour + other * of_colour] * facts.pixel_std[other] +
            facts.pixel_mean[other];
        return (pixel - facts.pixel_mean[colour]) / facts.pixel_std[colour];
    });
}

// Padding is black before it is normalised, -mean / std; padded afterwards it is 0. Black pixels of the
// picture stay.
Mistaken padded_late(const TraceTensor& right, const TraceTensor& odd, const Side& side)
{
    const ModelFacts& facts = side.facts();
    return each_pixel(right, side, [&](std::size_t at, std::size_t colour) -> double {
        const double black = -facts.pixel_mean[colour] / facts.pixel_std[colour], value = right.values[at];
        return std::fabs(value - black) < 1e-5 && odd.values[at] == 0 ? 0 : value;
    });
}

// A grid that is not recorded is taken for 2 x 2, the only one that has another order column by column.
Mistaken tiles_in_order(const TileOrder& wrong, const TraceTensor& right, const Side& side)
{
    std::vector<float> result(right.values.size());
    const std::int64_t n = right.shape[1], size = width_of(right, 3);
    for (std::int64_t image = 0; image < right.shape[0]; ++image) {
        const auto [high, wide] = side.grid_of(image);
        const TileGrid grid = high > 0 ? TileGrid{n, high, wide} : TileGrid{n, 2, 2};
        for (std::int64_t tile = 0; tile < n; ++tile)
            if (const std::int64_t from = wrong.from(tile, grid); from >= 0 && from < n)
                std::copy_n(right.values.begin() + (image * n + from) * size, size,
                            result.begin() + (image * n + tile) * size);
    }
    return result;
}

Mistaken rows_as_columns(const TraceTensor& right, const TraceTensor&, const Side&)
{
    const std::int64_t size = right.shape[3];
    if (right.shape[4] != size)
        return std::nullopt;
    std::vector<float> result = right.values;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(result.size()); ++i) {
        const std::int64_t plane = i / (size * size), row = i / size % size, column = i % size;
        at(result, i) = at(right.values, (plane * size + column) * size + row);
    }
    return result;
}

struct PixelMistake {
    CauseName cause;
    const char* text;
    Mistaken (*apply)(const TraceTensor& right, const TraceTensor& odd, const Side& side);
};

const PixelMistake order_mistakes[] = {
    {"colour_order", "colours in the order blue, green, red", blue_first},
    {"pad_after_normalise", "padding of 0 where it should be -mean / std", padded_late},
    {"rows_and_columns_swapped", "rows and columns swapped", rows_as_columns}};

void test_mistake(const Pair& pair, bool odd_is_a, CauseName cause, const std::string& text,
                  const Mistaken& mistaken, Judgement& judgement)
{
    if (!mistaken)
        return;
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    const char* const odd = odd_is_a ? "a" : "b";
    const double before = furthest(a->values, b->values),
                 after = furthest(*mistaken, odd_is_a ? a->values : b->values);
    judgement.tested.push_back(
        {fmt::format("{}: {}", odd, text), cause, odd_is_a ? after : -1, odd_is_a ? -1 : after});
    if (judgement.causes.empty() && after < 0.01 * before)
        judgement.causes.push_back({cause,
                                    fmt::format("{} has {}: {} apart as they are, {} with that undone", odd,
                                                text, amount(before), amount(after)),
                                    pair.name,
                                    pair.a.step(),
                                    before,
                                    after,
                                    {}});
}

// The 16-bit dtype that one was rounded to; empty: neither, or not the other's.
std::string rounded_alike(const TraceTensor& a, const TraceTensor& b)
{
    for (const char* dtype : {"F16", "BF16"}) {
        bool alike = true;
        for (std::size_t i = 0; i < a.values.size() && alike; ++i) {
            const double x = a.values[i], y = b.values[i];
            alike = std::fabs(x - y) <= unit_roundoff(dtype) * std::max(std::fabs(x), std::fabs(y));
        }
        if (alike)
            return dtype;
    }
    return "";
}

}  // namespace

Judgement judge_pixels(const Pair& pair, const NameParts&)
{
    Judgement judgement;
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->shape != b->shape || a->shape.size() != 5) {
        judgement.text = "not recorded in full and in the same shape in both traces";
        return judgement;
    }
    if (const std::string dtype = rounded_alike(*a, *b); !dtype.empty()) {
        judgement.verdict = Verdict::explained;
        judgement.text = fmt::format("the same image, in one of the two rounded to {}", dtype);
        return judgement;
    }
    judgement.verdict = Verdict::fault;
    judgement.text = "the images that go in differ";
    if (tiles_present(*a) != tiles_present(*b)) {
        judgement.text = "the images that go in differ: different tiles hold an image";
        return judgement;
    }
    for (const bool odd_is_a : {true, false}) {
        const TraceTensor &odd = odd_is_a ? *a : *b, &right = odd_is_a ? *b : *a;
        const Side& right_side = odd_is_a ? pair.b : pair.a;
        for (const ColourMistake& mistake : colour_mistakes)
            test_mistake(pair, odd_is_a, mistake.cause, mistake.text,
                         normalised_otherwise(mistake, right, right_side), judgement);
        for (const PixelMistake& mistake : order_mistakes)
            test_mistake(pair, odd_is_a, mistake.cause, mistake.text, mistake.apply(right, odd, right_side),
                         judgement);
        for (const TileOrder& wrong : tile_orders)
            test_mistake(pair, odd_is_a, wrong.cause, fmt::format("the image {}", wrong.text),
                         tiles_in_order(wrong, right, right_side), judgement);
    }
    if (!judgement.causes.empty())
        judgement.text = judgement.causes.front().text;
    return judgement;
}

}  // namespace pictor
