#include "reference/image/resize.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>

#include "base/at.h"

namespace pictor {
namespace {

// Weights are whole numbers, 2^22 standing for 1: 8 bits of pixel, 22 of weight and 2 to spare fill 32.
constexpr int weight_bits = 32 - 8 - 2;

// What one pixel of the smaller or larger image is made of: the source pixels first, first + 1, ... by
// weight.
struct Blend {
    std::int64_t first = 0;
    std::vector<std::int32_t> weights;  // they add up to about 2^22
};

// TRAP(resize_without_antialias): when an image shrinks, the triangle widens with the ratio, so that every
// source pixel counts. A bilinear resize that always blends two neighbours (OpenCV's, or PyTorch's without
// antialias) skips pixels, and its output is another image.
//
// Follows Pillow's Resample.c: float64 weights, normalised, then rounded.
std::vector<Blend> blends(std::int64_t n_source, std::int64_t n_target)
{
    const double scale = static_cast<double>(n_source) / static_cast<double>(n_target);
    const double reach = std::max(scale, 1.0);  // half the triangle's base, in source pixels
    std::vector<Blend> result(static_cast<std::size_t>(n_target));
    std::vector<double> triangle;
    for (std::int64_t target = 0; target < n_target; ++target) {
        const double centre = (static_cast<double>(target) + 0.5) * scale;
        const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - reach + 0.5), 0);
        const auto end = std::min(static_cast<std::int64_t>(centre + reach + 0.5), n_source);

        triangle.clear();
        double sum = 0.0;
        for (std::int64_t source = first; source < end; ++source) {
            const double distance = std::abs((static_cast<double>(source) - centre + 0.5) * (1.0 / reach));
            triangle.push_back(distance < 1.0 ? 1.0 - distance : 0.0);
            sum += triangle.back();
        }

        Blend& blend = at(result, target);
        blend.first = first;
        for (double height : triangle) {
            const double weight = sum != 0.0 ? height / sum : height;
            blend.weights.push_back(static_cast<std::int32_t>(0.5 + weight * (1 << weight_bits)));
        }
    }
    return result;
}

std::uint8_t to_byte(std::int32_t sum)
{
    return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

// Rows first_row .. first_row + n_rows of the image, each resized to `width` pixels.
Image resize_rows(const Image& image, std::int64_t first_row, std::int64_t n_rows, std::int64_t width)
{
    const std::vector<Blend> columns = blends(image.width, width);
    Image result{n_rows, width, std::vector<std::uint8_t>(static_cast<std::size_t>(n_rows * width * 3))};
    for (std::int64_t row = 0; row < n_rows; ++row) {
        for (std::int64_t column = 0; column < width; ++column) {
            const Blend& blend = at(columns, column);
            std::int32_t sum[3] = {1 << (weight_bits - 1), 1 << (weight_bits - 1), 1 << (weight_bits - 1)};
            const std::uint8_t* source = image.pixel(first_row + row, blend.first);
            for (std::int32_t weight : blend.weights)
                for (int colour = 0; colour < 3; ++colour)
                    sum[colour] += weight * *source++;
            for (int colour = 0; colour < 3; ++colour)
                result.pixel(row, column)[colour] = to_byte(sum[colour]);
        }
    }
    return result;
}

// An image of rows.size() rows, each blended from rows of `image`, which holds those from first_row on.
Image resize_columns(const Image& image, std::int64_t first_row, const std::vector<Blend>& rows)
{
    const auto height = static_cast<std::int64_t>(rows.size());
    const auto n_bytes =
        static_cast<std::size_t>(image.width * 3);  // a row's bytes, each its own column here
    Image result{height, image.width, std::vector<std::uint8_t>(rows.size() * n_bytes)};
    std::vector<std::int32_t> sums(n_bytes);
    for (std::int64_t row = 0; row < height; ++row) {
        const Blend& blend = at(rows, row);
        std::fill(sums.begin(), sums.end(), 1 << (weight_bits - 1));
        std::int64_t source_row = blend.first - first_row;
        for (std::int32_t weight : blend.weights) {
            const std::uint8_t* source = image.pixel(source_row++, 0);
            for (std::size_t byte = 0; byte < n_bytes; ++byte)
                sums[byte] += weight * source[byte];
        }
        std::transform(sums.begin(), sums.end(), result.pixel(row, 0), to_byte);
    }
    return result;
}

}  // namespace

Image resize_bilinear(const Image& image, std::int64_t height, std::int64_t width)
{
    const auto n_bytes = static_cast<std::int64_t>(image.rgb.size());
    if (image.height <= 0 || image.width <= 0 || n_bytes / 3 / image.width != image.height ||
        n_bytes % (image.width * 3) != 0)
        throw std::runtime_error(fmt::format(
            "resize: a picture {} pixels high and {} wide with {} bytes; wanted height x width x 3 bytes",
            image.height, image.width, n_bytes));
    constexpr std::int64_t largest_side = 1 << 20;
    if (height <= 0 || width <= 0 || height > largest_side || width > largest_side ||
        height * width > largest_side * 512)
        throw std::runtime_error(fmt::format(
            "resize: wanted size {} x {}; it must be positive and at most 2^29 pixels", height, width));

    const std::vector<Blend> rows = blends(image.height, height);
    // TRAP(pass_order): each pass rounds to bytes, so the order of the two shows in the result. Pillow blends
    // rows first since version 13 when the height loses more than twice as many pixels as the width; older
    // versions never do.
    const bool rows_first = height < image.height && image.height - height > 2 * (image.width - width);
    if (rows_first)
        return resize_rows(resize_columns(image, 0, rows), 0, height, width);

    // Left to right first, and only the rows that the second pass will blend.
    const std::int64_t first_row = rows.front().first;
    const std::int64_t end_row = rows.back().first + static_cast<std::int64_t>(rows.back().weights.size());
    return resize_columns(resize_rows(image, first_row, end_row - first_row, width), first_row, rows);
}

}  // namespace pictor
