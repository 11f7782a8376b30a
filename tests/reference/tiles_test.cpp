#include "reference/image/tiles.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/at.h"
#include "reference/image/resize.h"
#include "tests/catch.h"

using namespace pictor;
using nlohmann::json;

namespace {

const std::filesystem::path golden = "golden/picture";

json expected_cases()
{
    std::ifstream file(golden / "expected.json");
    REQUIRE(file);
    return json::parse(file);
}

ImageConfig config_of(const json& expected, const std::string& normalisation, std::int64_t tile_size)
{
    ImageConfig config;
    config.mean = expected["normalisations"][normalisation]["mean"];
    config.std = expected["normalisations"][normalisation]["std"];
    config.rescale_factor = expected["rescale_factor"];
    config.tile_size = tile_size;
    config.max_tiles = expected["max_tiles"];
    return config;
}

ImageConfig clip_config(std::int64_t tile_size) { return config_of(expected_cases(), "clip", tile_size); }

Image plain_image(std::int64_t height, std::int64_t width, std::uint8_t value = 200)
{
    return {height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * 3), value)};
}

// The largest difference between pixel_values and the table's entry for each byte of the canvas; absent tiles
// hold 0.
double largest_difference(const TiledImage& tiled, const Image& canvas, const json& table)
{
    const std::int64_t tile_size = tiled.pixel_values.extent(2),
                       n_tiles = tiled.tiles_high * tiled.tiles_wide;
    double largest = 0;
    for (std::int64_t colour = 0; colour < 3; ++colour) {
        const auto values = at(table, colour).get<std::vector<float>>();
        REQUIRE(values.size() == 256);
        for (std::int64_t tile = 0; tile < tiled.pixel_values.extent(0); ++tile)
            for (std::int64_t row = 0; row < tile_size; ++row)
                for (std::int64_t column = 0; column < tile_size; ++column) {
                    float wanted = 0;
                    if (tile < n_tiles)
                        wanted = values[canvas.pixel(tile / tiled.tiles_wide * tile_size + row,
                                                     tile % tiled.tiles_wide * tile_size + column)[colour]];
                    const double difference =
                        std::abs(double{tiled.pixel_values(tile, colour, row, column)} - double{wanted});
                    largest = difference <= largest ? largest : difference;  // NaN stays
                }
    }
    return largest;
}

}  // namespace

TEST_CASE("tiles: pixel values are those of transformers' PIL processor at every element")
{
    const json expected = expected_cases();
    REQUIRE(expected["cases"].size() >= 60);
    for (const json& entry : expected["cases"]) {
        INFO(entry["name"].get<std::string>());
        const std::string normalisation = entry["normalisation"];
        const Image picture = decode_image(golden / entry["file"].get<std::string>());
        const TiledImage tiled =
            cut_into_tiles(picture, config_of(expected, normalisation, entry["tile_size"]));
        CHECK(std::vector{tiled.height, tiled.width} == entry["size"].get<std::vector<std::int64_t>>());
        CHECK(std::vector{tiled.resized_height, tiled.resized_width} ==
              entry["resized"].get<std::vector<std::int64_t>>());
        REQUIRE(std::vector{tiled.tiles_high, tiled.tiles_wide} ==
                entry["tiles"].get<std::vector<std::int64_t>>());
        CHECK(tiled.aspect_ratio_id == entry["aspect_ratio_id"].get<std::int64_t>());
        for (std::size_t tile = 0; tile < tiled.tile_mask.size(); ++tile)
            CHECK(tiled.tile_mask[tile] ==
                  (static_cast<std::int64_t>(tile) < tiled.tiles_high * tiled.tiles_wide));

        const Image canvas = decode_image(golden / entry["canvas"].get<std::string>());
        REQUIRE(canvas.height == tiled.tiles_high * tiled.pixel_values.extent(2));
        REQUIRE(canvas.width == tiled.tiles_wide * tiled.pixel_values.extent(3));
        // Bit for bit in fact; 1e-6 is what is promised.
        CHECK(largest_difference(tiled, canvas, expected["normalisations"][normalisation]["table"]) <= 1e-6);
    }
}

TEST_CASE("tiles: canvas and size of 2,400 pictures, thin ones too")
{
    std::ifstream file(golden / "canvas_sizes.csv");
    std::string line;
    REQUIRE(std::getline(file, line));
    int n_sizes = 0;
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        std::vector<std::int64_t> number;
        for (std::string field; std::getline(fields, field, ',');)
            number.push_back(std::stoll(field));
        REQUIRE(number.size() == 9);
        INFO(line);
        const ImageSize picture{number[0], number[1]};
        const ImageSize canvas = choose_canvas(picture, number[2], number[3]);
        REQUIRE(canvas == ImageSize{number[4], number[5]});
        REQUIRE(fit_to_canvas(picture, canvas, number[2]) == ImageSize{number[6], number[7]});
        REQUIRE(at(tile_grids(number[3]), number[8] - 1) ==
                ImageSize{canvas.height / number[2], canvas.width / number[2]});
        ++n_sizes;
    }
    CHECK(n_sizes == 2400);
}

TEST_CASE("tiles: the grids of four tiles, in the order of aspect_ratio_id")
{
    CHECK(tile_grids(4) ==
          std::vector<ImageSize>{{1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}});
    CHECK(tile_grids(1) == std::vector<ImageSize>{{1, 1}});
}

TEST_CASE("TRAP exactly_tile_size: one tile, neither more nor resized", "[trap]")
{
    for (std::int64_t tile : {112, 560}) {
        const TiledImage tiled = cut_into_tiles(plain_image(tile, tile), clip_config(tile));
        CHECK(tiled.tiles_high == 1);
        CHECK(tiled.tiles_wide == 1);
        CHECK(tiled.aspect_ratio_id == 1);
        CHECK(tiled.resized_height == tile);
        CHECK(tiled.resized_width == tile);
        CHECK(tiled.tile_mask == std::vector<std::int64_t>{1, 0, 0, 0});
        // One pixel more on both sides needs 2 x 2, on one side 1 x 2 or 2 x 1.
        CHECK(choose_canvas({tile + 1, tile + 1}, tile, 4) == ImageSize{2 * tile, 2 * tile});
        CHECK(choose_canvas({tile, tile + 1}, tile, 4) == ImageSize{tile, 2 * tile});
        CHECK(choose_canvas({tile + 1, tile}, tile, 4) == ImageSize{2 * tile, tile});
    }
}

TEST_CASE("TRAP pad_after_normalise: padding is -mean/std, absent tiles are 0", "[trap]")
{
    const ImageConfig config = clip_config(112);
    const TiledImage tiled = cut_into_tiles(plain_image(56, 150), config);  // one row of two tiles, padded
    REQUIRE(tiled.tiles_high == 1);
    REQUIRE(tiled.tiles_wide == 2);
    REQUIRE(tiled.resized_height < 112);
    for (std::int64_t colour = 0; colour < 3; ++colour) {
        const auto c = static_cast<std::size_t>(colour);
        CHECK(tiled.pixel_values(0, colour, 0, 0) ==
              Approx((200 / 255.0 - config.mean[c]) / config.std[c]).epsilon(1e-6));
        CHECK(tiled.pixel_values(0, colour, 111, 0) == Approx(-config.mean[c] / config.std[c]).epsilon(1e-6));
        CHECK(tiled.pixel_values(2, colour, 0, 0) == 0.0f);
        CHECK(tiled.pixel_values(3, colour, 111, 111) == 0.0f);
    }
}

TEST_CASE("TRAP tiles_high_before_wide: a row of four tiles is id 4, a column of four id 8", "[trap]")
{
    const ImageConfig config = clip_config(112);
    Image row = plain_image(112, 448, 0), column = plain_image(448, 112, 0);
    std::fill_n(row.pixel(5, 112 * 2 + 7), 3, std::uint8_t{255});     // in the third tile of the row
    std::fill_n(column.pixel(112 * 2 + 7, 5), 3, std::uint8_t{255});  // in the third tile of the column
    const TiledImage wide = cut_into_tiles(row, config), high = cut_into_tiles(column, config);
    CHECK(std::vector{wide.tiles_high, wide.tiles_wide, wide.aspect_ratio_id} ==
          std::vector<std::int64_t>{1, 4, 4});
    CHECK(std::vector{high.tiles_high, high.tiles_wide, high.aspect_ratio_id} ==
          std::vector<std::int64_t>{4, 1, 8});
    CHECK(wide.pixel_values(2, 0, 5, 7) > 1.0f);
    CHECK(high.pixel_values(2, 0, 7, 5) > 1.0f);
    CHECK(wide.pixel_values(2, 0, 7, 5) < 0.0f);

    // 2 x 2: row by row, so the second tile is the upper right one.
    Image square = plain_image(224, 224, 0);
    std::fill_n(square.pixel(3, 112 + 9), 3, std::uint8_t{255});
    CHECK(cut_into_tiles(square, config).pixel_values(1, 0, 3, 9) > 1.0f);
}

TEST_CASE("TRAP aspect_id_0: ids count from 1, 0 is left for no picture", "[trap]")
{
    CHECK(TiledImage{}.aspect_ratio_id == 0);
    const std::vector<ImageSize> grids = tile_grids(4);
    for (std::size_t index = 0; index < grids.size(); ++index) {
        const TiledImage tiled =
            cut_into_tiles(plain_image(grids[index].height * 14, grids[index].width * 14), clip_config(14));
        CHECK(tiled.aspect_ratio_id == static_cast<std::int64_t>(index) + 1);
    }
}

TEST_CASE("tiles: the canvas holds the resized picture at its top left, black elsewhere")
{
    const Image canvas = image_on_canvas(plain_image(10, 10), {6, 8}, {14, 28});
    for (std::int64_t row = 0; row < 14; ++row)
        for (std::int64_t column = 0; column < 28; ++column)
            REQUIRE(canvas.pixel(row, column)[1] == (row < 6 && column < 8 ? 200 : 0));
    CHECK_THROWS_WITH(image_on_canvas(plain_image(10, 10), {20, 8}, {14, 28}), ContainsSubstring("canvas"));
}

TEST_CASE("tiles refuse configurations that make no sense")
{
    const Image picture = plain_image(3, 3);
    ImageConfig config = clip_config(112);
    config.tile_size = 0;
    CHECK_THROWS_WITH(cut_into_tiles(picture, config), ContainsSubstring("tile size 0"));
    config.tile_size = 1 << 20;
    CHECK_THROWS_WITH(cut_into_tiles(picture, config), ContainsSubstring("preprocessor_config.json"));
    config = clip_config(112);
    config.max_tiles = -1;
    CHECK_THROWS_WITH(cut_into_tiles(picture, config), ContainsSubstring("at most -1 tiles"));
    config = clip_config(112);
    config.std[1] = 0;
    CHECK_THROWS_WITH(cut_into_tiles(picture, config), ContainsSubstring("positive std"));
    config.std[1] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH(cut_into_tiles(picture, config), ContainsSubstring("image_std"));
    CHECK_THROWS_WITH(cut_into_tiles({}, clip_config(112)), ContainsSubstring("0 pixels high"));
    CHECK_THROWS_WITH(choose_canvas({-1, 5}, 112, 4), ContainsSubstring("-1 pixels high"));
}
