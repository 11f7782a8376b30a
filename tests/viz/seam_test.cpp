// The seam test: a picture with one marked patch lights exactly that patch, for every tile grid.
#include <cmath>

#include "base/at.h"
#include "reference/image/tiles.h"
#include "tests/catch.h"
#include "tests/viz/small_tiles.h"
#include "viz/drawing/paint.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/heatmaps/patch_grid.h"

using namespace pictor;
using namespace pictor::testing;

namespace {

// How bright each key's pixels are, read off the tiles as the vision encoder reads them; padding, which is
// black, is 0.
std::vector<double> brightness_of_keys(const TiledImage& tiled)
{
    const std::int64_t side = tile_size / patch_size, per_tile = side * side + 1;
    std::vector<double> keys(static_cast<std::size_t>(4 * per_tile), 0.0);
    for (std::int64_t tile = 0; tile < tiled.tiles_high * tiled.tiles_wide; ++tile)
        for (std::int64_t y = 0; y < tile_size; ++y)
            for (std::int64_t x = 0; x < tile_size; ++x) {
                const float value =
                    at(tiled.pixel_values.values, ((tile * 3 + 0) * tile_size + y) * tile_size + x);
                at(keys, tile * per_tile + 1 + y / patch_size * side + x / patch_size) += 0.5 * value + 0.5;
            }
    return keys;
}

}  // namespace

TEST_CASE("seam: the sizes of these tests reach all eight tile grids", "[heatmap]")
{
    std::vector<std::int64_t> seen(9, 0);
    for (const ImageSize& size : sizes)
        ++at(seen, cut_into_tiles(blank(size.height, size.width), small_tiles()).aspect_ratio_id);
    for (std::size_t id = 1; id <= 8; ++id) {
        INFO("aspect ratio id " << id);
        CHECK(seen[id] > 0);
    }
}

TEST_CASE("seam: a picture with one marked patch lights exactly that patch", "[heatmap]")
{
    // Pictures that are not resized: the marked block survives the preprocessor untouched, so the test is
    // exact.
    for (const ImageSize& size : sizes) {
        const TiledImage empty = cut_into_tiles(blank(size.height, size.width), small_tiles());
        const PictureGeometry g = geometry_of(empty);
        if (empty.resized_height != size.height || empty.resized_width != size.width)
            continue;
        for (std::int64_t top = 0; top < size.height; top += patch_size)
            for (std::int64_t left = 0; left < size.width; left += patch_size) {
                Image marked = blank(size.height, size.width);
                for (std::int64_t y = top; y < std::min(top + patch_size, size.height); ++y)
                    for (std::int64_t x = left; x < std::min(left + patch_size, size.width); ++x)
                        marked.pixel(y, x)[0] = 255;
                const auto grid = lay_out(g, brightness_of_keys(cut_into_tiles(marked, small_tiles())), 0, 4);
                const Raster dark(static_cast<int>(size.width), static_cast<int>(size.height));
                const Raster painted = paint_grid(dark, g, grid, dark.width, dark.height, {.scale = 1e-3});
                bool exact = true;
                for (int y = 0; y < painted.height; ++y)
                    for (int x = 0; x < painted.width; ++x) {
                        const bool lit =
                            painted.at(x, y) != legend_colour(0, Palette::heat) && painted.at(x, y).red > 150;
                        exact = exact && lit == (y >= top && y < top + patch_size && x >= left &&
                                                 x < left + patch_size);
                    }
                INFO(size.height << " x " << size.width << ", block at " << top << ", " << left);
                CHECK(exact);
            }
    }
}

TEST_CASE("seam: on resized and padded pictures every pixel shows the key it was read through", "[heatmap]")
{
    for (const ImageSize& size : sizes) {
        const TiledImage tiled = cut_into_tiles(blank(size.height, size.width), small_tiles());
        const PictureGeometry g = geometry_of(tiled);
        const std::int64_t side = tile_size / patch_size, per_tile = side * side + 1;
        // Every key has a value of its own; a pixel of the original must show the one of its own forward
        // path.
        std::vector<double> keys(static_cast<std::size_t>(4 * per_tile));
        for (std::size_t key = 0; key < keys.size(); ++key)
            keys[key] = static_cast<double>(key);
        const auto grid = lay_out(g, keys, 0, 4);
        for (std::int64_t y = 0; y < size.height; ++y)
            for (std::int64_t x = 0; x < size.width; ++x) {
                const std::int64_t canvas_y = (2 * y + 1) * tiled.resized_height / (2 * size.height);
                const std::int64_t canvas_x = (2 * x + 1) * tiled.resized_width / (2 * size.width);
                const std::int64_t tile = canvas_y / tile_size * tiled.tiles_wide + canvas_x / tile_size;
                const std::int64_t key = tile * per_tile + 1 + canvas_y % tile_size / patch_size * side +
                                         canvas_x % tile_size / patch_size;
                const auto place = patch_at(g, static_cast<double>(x) + 0.5, static_cast<double>(y) + 0.5);
                REQUIRE(place);
                const PictureRectangle r = rectangle_of(g, *place);
                const TilePatch back = key_of(g, *place);
                const bool right =
                    at(grid, place->row * g.grid_columns() + place->column) == static_cast<double>(key) &&
                    back.tile * per_tile + back.patch == key && r.x0 <= x + 0.5 && x + 0.5 < r.x1 &&
                    r.y0 <= y + 0.5 && y + 0.5 < r.y1;
                INFO(size.height << " x " << size.width << " at " << y << ", " << x);
                if (!right)
                    CHECK(right);
            }
    }
}

TEST_CASE("seam: a marked block that goes through resize is found again", "[heatmap]")
{
    for (const ImageSize& size : sizes) {
        const PictureGeometry g = geometry_of(cut_into_tiles(blank(size.height, size.width), small_tiles()));
        for (std::int64_t row = 0; row * patch_size < g.resized_height; ++row)
            for (std::int64_t column = 0; column * patch_size < g.resized_width; ++column) {
                const PictureRectangle r = rectangle_of(g, {row, column});
                if (r.x1 - r.x0 < 3 || r.y1 - r.y0 < 3 || share_on_picture(g, {row, column}) < 0.5)
                    continue;  // blurred over its neighbours by the resize
                Image marked = blank(size.height, size.width);
                for (std::int64_t y = std::llround(r.y0); y < std::llround(r.y1); ++y)
                    for (std::int64_t x = std::llround(r.x0); x < std::llround(r.x1); ++x)
                        marked.pixel(y, x)[0] = 255;
                Heat heat;
                heat.geometry = g;
                heat.grid = lay_out(g, brightness_of_keys(cut_into_tiles(marked, small_tiles())), 0, 4);
                const auto found = strongest_place(heat);
                INFO(size.height << " x " << size.width << ", patch " << row << ", " << column);
                REQUIRE(found);
                CHECK(*found == GridPlace{row, column});
            }
    }
}
