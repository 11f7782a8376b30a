#include "reference/image/tiles.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "reference/image/resize.h"

namespace pictor {
namespace {

void require_positive(ImageSize size, std::int64_t tile_size, std::int64_t max_tiles)
{
    if (size.height <= 0 || size.width <= 0)
        throw std::runtime_error(
            fmt::format("tiles: a picture {} pixels high and {} wide; wanted at least one pixel", size.height,
                        size.width));
    constexpr std::int64_t largest_tile = 16384, most_tiles = 1024, most_pixels = std::int64_t{1} << 28;
    if (tile_size <= 0 || tile_size > largest_tile || max_tiles <= 0 || max_tiles > most_tiles ||
        tile_size * tile_size * max_tiles > most_pixels)
        throw std::runtime_error(fmt::format(
            "tiles: tile size {} and at most {} tiles; wanted 1 to {} pixels, 1 to {} tiles and at "
            "most {} pixels in all (size and max_image_tiles in preprocessor_config.json)",
            tile_size, max_tiles, largest_tile, most_tiles, most_pixels));
}

// What each byte of each colour becomes: float64 for the rescaling, float32 from there on, as numpy computes
// it.
std::array<std::array<float, 256>, 3> normalised_bytes(const ImageConfig& config)
{
    std::array<std::array<float, 256>, 3> table{};
    for (std::size_t colour = 0; colour < 3; ++colour) {
        const auto mean = static_cast<float>(config.mean[colour]);
        const auto std = static_cast<float>(config.std[colour]);
        if (!(std > 0.0f) || !std::isfinite(mean) || !std::isfinite(std) ||
            !std::isfinite(config.rescale_factor))
            throw std::runtime_error(fmt::format(
                "tiles: mean {}, std {} and rescale factor {}; wanted finite numbers and a positive "
                "std (image_mean, image_std in preprocessor_config.json)",
                config.mean[colour], config.std[colour], config.rescale_factor));
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const auto rescaled = static_cast<float>(static_cast<double>(byte) * config.rescale_factor);
            table[colour][byte] = (rescaled - mean) / std;
        }
    }
    return table;
}

}  // namespace

// TRAP(tiles_high_before_wide): a grid is (high, wide): id 4 is one row of four tiles, id 8 one column of
// four. The names in transformers' docstrings say (width, height); its arithmetic says otherwise.
std::vector<ImageSize> tile_grids(std::int64_t max_tiles)
{
    require_positive({1, 1}, 1, max_tiles);
    std::vector<ImageSize> grids;
    for (std::int64_t high = 1; high <= max_tiles; ++high)
        for (std::int64_t wide = 1; high * wide <= max_tiles; ++wide)
            grids.push_back({high, wide});
    return grids;
}

// The canvas that enlarges the image least; where none holds it, the one that shrinks it least.
ImageSize choose_canvas(ImageSize image, std::int64_t tile_size, std::int64_t max_tiles)
{
    require_positive(image, tile_size, max_tiles);
    ImageSize best;
    double best_scale = 0.0;
    for (ImageSize grid : tile_grids(max_tiles)) {
        const ImageSize canvas{grid.height * tile_size, grid.width * tile_size};
        const double scale = std::min(static_cast<double>(canvas.height) / static_cast<double>(image.height),
                                      static_cast<double>(canvas.width) / static_cast<double>(image.width));
        // TRAP(exactly_tile_size): an image of exactly one tile has scale 1 on (1, 1) and on larger grids
        // alike. Scale 1 counts as "holds it", and of equal scales the least area wins: one tile, not four.
        const bool holds = scale >= 1.0, best_holds = best_scale >= 1.0;
        const bool better = holds != best_holds ? holds : holds ? scale < best_scale : scale > best_scale;
        const bool smaller = scale == best_scale && canvas.height * canvas.width < best.height * best.width;
        if (best.height == 0 || better || smaller) {
            best = canvas;
            best_scale = scale;
        }
    }
    return best;
}

// As large as the canvas allows, but an image smaller than the canvas grows to one tile's side at most.
ImageSize fit_to_canvas(ImageSize image, ImageSize canvas, std::int64_t tile_size)
{
    require_positive(image, tile_size, 1);
    require_positive(canvas, tile_size, 1);
    const ImageSize target{std::clamp(image.height, std::min(tile_size, canvas.height), canvas.height),
                           std::clamp(image.width, std::min(tile_size, canvas.width), canvas.width)};
    const double scale_high = static_cast<double>(target.height) / static_cast<double>(image.height);
    const double scale_wide = static_cast<double>(target.width) / static_cast<double>(image.width);
    const auto shrunk = [](std::int64_t side, double scale) {
        // An image 1 pixel high and 5,000 wide keeps a row; Meta's code computes 0 here and fails.
        return std::max<std::int64_t>(
            static_cast<std::int64_t>(std::floor(static_cast<double>(side) * scale)), 1);
    };
    if (scale_wide < scale_high)
        return {std::min(shrunk(image.height, scale_wide), target.height), target.width};
    return {target.height, std::min(shrunk(image.width, scale_high), target.width)};
}

Image image_on_canvas(const Image& image, ImageSize resized, ImageSize canvas)
{
    if (resized.height > canvas.height || resized.width > canvas.width)
        throw std::runtime_error(
            fmt::format("tiles: a picture resized to {} x {} on a canvas of {} x {}; wanted a size that fits",
                        resized.height, resized.width, canvas.height, canvas.width));
    const Image small = resize_bilinear(image, resized.height, resized.width);
    Image result{canvas.height, canvas.width,
                 std::vector<std::uint8_t>(static_cast<std::size_t>(canvas.height * canvas.width * 3))};
    for (std::int64_t row = 0; row < small.height; ++row)
        std::copy_n(small.pixel(row, 0), small.width * 3, result.pixel(row, 0));
    return result;
}

TiledImage cut_into_tiles(const Image& image, const ImageConfig& config)
{
    const std::int64_t tile_size = config.tile_size, max_tiles = config.max_tiles;
    const ImageSize canvas_size = choose_canvas({image.height, image.width}, tile_size, max_tiles);
    const ImageSize resized = fit_to_canvas({image.height, image.width}, canvas_size, tile_size);
    const ImageSize grid{canvas_size.height / tile_size, canvas_size.width / tile_size};
    const std::vector<ImageSize> grids = tile_grids(max_tiles);

    TiledImage tiled{image.height, image.width, resized.height, resized.width, grid.height, grid.width, 0,
                     {},           {}};
    // TRAP(aspect_id_0): ids count from 1; 0 means that there is no image, and its embedding row stands for
    // absent ones.
    tiled.aspect_ratio_id = 1 + (std::find(grids.begin(), grids.end(), grid) - grids.begin());
    tiled.tile_mask.assign(static_cast<std::size_t>(max_tiles), 0);
    std::fill_n(tiled.tile_mask.begin(), grid.height * grid.width, 1);

    // TRAP(pad_after_normalise): the canvas is padded with black bytes BEFORE they are normalised, so that
    // padding is -mean/std. Only absent tiles are plain zero.
    const Image canvas = image_on_canvas(image, resized, canvas_size);
    const auto table = normalised_bytes(config);
    tiled.pixel_values = Tensor({max_tiles, 3, tile_size, tile_size});
    for (std::int64_t tile = 0; tile < grid.height * grid.width; ++tile) {
        for (std::int64_t colour = 0; colour < 3; ++colour) {
            for (std::int64_t row = 0; row < tile_size; ++row) {
                const std::uint8_t* source =
                    canvas.pixel(tile / grid.width * tile_size + row, tile % grid.width * tile_size) + colour;
                float* values = &tiled.pixel_values(tile, colour, row, 0);
                for (std::int64_t column = 0; column < tile_size; ++column)
                    values[column] = at(table, colour)[source[column * 3]];
            }
        }
    }
    return tiled;
}

}  // namespace pictor
