#include "reference/image/resize.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/catch.h"

using namespace pictor;

namespace {

// golden/make_picture_cases.py computes the same pictures.
Image formula_picture(std::int64_t height, std::int64_t width)
{
    Image picture{height, width, {}};
    for (std::int64_t row = 0; row < height; ++row)
        for (std::int64_t column = 0; column < width; ++column)
            for (std::int64_t colour = 0; colour < 3; ++colour)
                picture.rgb.push_back(
                    static_cast<std::uint8_t>(row * 73 + column * 151 + colour * 57 + row * column * 7));
    return picture;
}

std::uint32_t crc32(const std::vector<std::uint8_t>& bytes)
{
    std::uint32_t crc = ~0u;
    for (std::uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; ++bit)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

// A gray picture from its bytes, row by row.
Image gray(std::int64_t height, std::int64_t width, const std::vector<int>& values)
{
    Image picture{height, width, {}};
    for (int value : values)
        picture.rgb.insert(picture.rgb.end(), 3, static_cast<std::uint8_t>(value));
    return picture;
}

std::vector<int> reds(const Image& picture)
{
    std::vector<int> values;
    for (std::size_t i = 0; i < picture.rgb.size(); i += 3)
        values.push_back(picture.rgb[i]);
    return values;
}

}  // namespace

TEST_CASE("resize gives Pillow's bytes at every size")
{
    std::ifstream file("golden/picture/resizes.csv");
    std::string line;
    REQUIRE(std::getline(file, line));
    REQUIRE(line == "height,width,resized_height,resized_width,crc32");
    int n_sizes = 0;
    while (std::getline(file, line)) {
        std::istringstream fields(line);
        std::int64_t height, width, new_height, new_width, crc;
        char comma;
        REQUIRE(fields >> height >> comma >> width >> comma >> new_height >> comma >> new_width >> comma >>
                crc);
        const Image resized = resize_bilinear(formula_picture(height, width), new_height, new_width);
        INFO(line);
        REQUIRE(resized.height == new_height);
        REQUIRE(resized.width == new_width);
        REQUIRE(crc32(resized.rgb) == crc);
        ++n_sizes;
    }
    CHECK(n_sizes == 300);
}

TEST_CASE("resize to the same size changes nothing")
{
    const Image picture = formula_picture(37, 41);
    CHECK(resize_bilinear(picture, 37, 41).rgb == picture.rgb);
}

TEST_CASE("resize keeps a single colour, the extremes too")
{
    for (int value : {0, 1, 127, 254, 255}) {
        const Image picture = gray(5, 7, std::vector<int>(35, value));
        for (const auto& [height, width] :
             {std::array{1, 1}, std::array{3, 40}, std::array{40, 3}, std::array{123, 45}})
            CHECK(reds(resize_bilinear(picture, height, width)) ==
                  std::vector<int>(static_cast<std::size_t>(height * width), value));
    }
}

TEST_CASE("TRAP resize_without_antialias: a pixel that shrinks away still counts", "[trap]")
{
    // Eight columns to two: the middle of each half falls between columns 1 and 2 (5 and 6). A bilinear
    // resize without antialiasing looks at those alone and would return 0 for a lit column 0 or 3.
    CHECK(reds(resize_bilinear(gray(1, 8, {255, 0, 0, 0, 0, 0, 0, 0}), 1, 2)) == std::vector<int>{46, 0});
    CHECK(reds(resize_bilinear(gray(1, 8, {0, 0, 0, 255, 0, 0, 0, 0}), 1, 2)) == std::vector<int>{46, 27});
    CHECK(reds(resize_bilinear(gray(8, 1, {0, 0, 0, 255, 0, 0, 0, 0}), 2, 1)) == std::vector<int>{46, 27});
    // Growing blends two neighbours only.
    CHECK(reds(resize_bilinear(gray(1, 2, {0, 200}), 1, 4)) == std::vector<int>{0, 50, 150, 200});
}

TEST_CASE("TRAP pass_order: rows first when the height loses more than twice what the width does", "[trap]")
{
    // 9 x 4 loses 7 rows and 2 columns. Columns first would give 147 for the last pixel, as Pillow 12 does.
    const Image high = formula_picture(9, 4);
    CHECK(reds(resize_bilinear(high, 2, 2)) == std::vector<int>{125, 133, 136, 148});
    // The same picture lying down loses 2 rows and 7 columns: columns first, and the same numbers.
    Image wide{4, 9, std::vector<std::uint8_t>(4 * 9 * 3)};
    for (std::int64_t row = 0; row < 9; ++row)
        for (std::int64_t column = 0; column < 4; ++column)
            std::copy_n(high.pixel(row, column), 3, wide.pixel(column, row));
    CHECK(reds(resize_bilinear(wide, 2, 2)) == std::vector<int>{125, 136, 133, 148});
}

TEST_CASE("resize refuses sizes that are none")
{
    const Image picture = formula_picture(2, 2);
    CHECK_THROWS_WITH(resize_bilinear(picture, 0, 2), ContainsSubstring("wanted size 0 x 2"));
    CHECK_THROWS_WITH(resize_bilinear(picture, 2, -1), ContainsSubstring("must be positive"));
    CHECK_THROWS_WITH(resize_bilinear(picture, 1 << 20, 1 << 20), ContainsSubstring("at most 2^29 pixels"));
    CHECK_THROWS_WITH(resize_bilinear({2, 2, {1, 2, 3}}, 1, 1), ContainsSubstring("3 bytes"));
    CHECK_THROWS_WITH(resize_bilinear({}, 1, 1), ContainsSubstring("0 pixels high"));
}
