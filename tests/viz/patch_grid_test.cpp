// Where keys stand on a picture, and how the ledger is rounded.
#include "tests/catch.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/heatmaps/patch_grid.h"

using namespace pictor;

namespace {

// 1 x 2 tiles of 2 x 2 patches; the picture covers the upper half of them.
PictureGeometry two_tiles() { return {2, 8, 2, 8, 1, 2, 4, 2}; }

}  // namespace

TEST_CASE("a second picture's map begins behind all tiles of the first", "[heatmap]")
{
    std::vector<double> keys;  // 2 pictures, 4 tiles, 5 keys: each says its own number
    for (int key = 0; key < 2 * 4 * 5; ++key)
        keys.push_back(key);
    CHECK(lay_out(two_tiles(), keys, 1, 4) == std::vector<double>{21, 22, 26, 27, 23, 24, 28, 29});
}

TEST_CASE("percentages are rounded by the largest remainder", "[heatmap]")
{
    Ledger ledger;
    ledger.picture = 0.33333;
    ledger.padding = 0.33333;
    ledger.absent = 0.33334;
    CHECK(rounded_percentages(ledger) == std::vector<double>{33.3, 33.3, 33.4, 0, 0, 0});
}

TEST_CASE("the strongest patch is one that shows the picture", "[heatmap]")
{
    Heat heat;
    heat.geometry = two_tiles();
    heat.grid = {0, 0.25, 0, 0, 0, 0, 0.5, 0};  // more on the padding below
    REQUIRE(strongest_place(heat));
    CHECK(*strongest_place(heat) == GridPlace{0, 1});
    CHECK(strongest(heat) == 0.25);
}
