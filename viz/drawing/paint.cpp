#include "viz/drawing/paint.h"

#include <algorithm>
#include <cmath>

#include "base/at.h"
#include "viz/drawing/colour_map.h"

namespace pictor {
namespace {

Rgb gray(double level)
{
    const auto byte = static_cast<std::uint8_t>(std::lround(255 * std::clamp(level, 0.0, 1.0)));
    return {byte, byte, byte};
}

// What is read strongly covers the picture; what is not lets it shine through, dim.
Rgb colour_over(double picture_luminance, double value, Palette palette)
{
    if (palette == Palette::difference) {
        const double t = std::clamp(value, -1.0, 1.0);
        return mix(gray(0.45 + 0.5 * picture_luminance), difference_colour(t), 0.55 + 0.4 * std::abs(t));
    }
    const double t = std::clamp(value, 0.0, 1.0);
    return mix(gray(0.10 + 0.66 * picture_luminance), heat_colour(t), 0.62 + 0.36 * t);
}

}  // namespace

Rgb legend_colour(double share_of_scale, Palette palette)
{
    return colour_over(0.5, share_of_scale, palette);
}

double smooth_value(const PictureGeometry& g, const std::vector<double>& grid, double x, double y)
{
    const auto patch_size = static_cast<double>(g.patch_size);
    const double column =
        x * static_cast<double>(g.resized_width) / static_cast<double>(g.width) / patch_size - 0.5;
    const double row =
        y * static_cast<double>(g.resized_height) / static_cast<double>(g.height) / patch_size - 0.5;
    const std::int64_t last_column = (g.resized_width - 1) / g.patch_size,
                       last_row = (g.resized_height - 1) / g.patch_size;
    const auto value = [&](std::int64_t r, std::int64_t c) {
        r = std::clamp<std::int64_t>(r, 0, last_row);
        c = std::clamp<std::int64_t>(c, 0, last_column);
        return at(grid, r * g.grid_columns() + c);
    };
    const auto r = static_cast<std::int64_t>(std::floor(row)),
               c = static_cast<std::int64_t>(std::floor(column));
    const double dr = row - std::floor(row), dc = column - std::floor(column);
    return (1 - dr) * ((1 - dc) * value(r, c) + dc * value(r, c + 1)) +
           dr * ((1 - dc) * value(r + 1, c) + dc * value(r + 1, c + 1));
}

Raster paint_grid(const Raster& picture, const PictureGeometry& g, const std::vector<double>& grid, int width,
                  int height, const PaintOptions& options)
{
    Raster result = scale(picture, width, height);
    const double scale = options.scale > 0 ? options.scale : 1;
    for (int row = 0; row < height; ++row) {
        for (int column = 0; column < width; ++column) {
            const double x = (column + 0.5) * static_cast<double>(g.width) / width;
            const double y = (row + 0.5) * static_cast<double>(g.height) / height;
            double value = 0;
            if (options.smooth) {
                value = smooth_value(g, grid, x, y);
            } else if (const auto place = patch_at(g, x, y)) {
                value = at(grid, place->row * g.grid_columns() + place->column);
            }
            Rgb& pixel = result.at(column, row);
            pixel = colour_over(luminance(pixel), value / scale, options.palette);
        }
    }
    return result;
}

Raster paint_no_effect(const Raster& picture, int width, int height)
{
    Raster result = scale(picture, width, height);
    for (Rgb& pixel : result.pixels)
        pixel = gray(0.78 + 0.17 * luminance(pixel));
    return result;
}

}  // namespace pictor
