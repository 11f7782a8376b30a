// The ways in which tiles end up in a wrong order, once for all steps that tiles go through.
#pragma once

#include <cstdint>

#include "trace/explaining/causes.h"

namespace pictor {

// The tiles of one image: `n` places, of which the first high x wide are laid out as a grid ({0, 0}:
// unknown).
struct TileGrid {
    std::int64_t n = 0, high = 0, wide = 0;
};

struct TileOrder {
    CauseName cause;
    const char* text;  // "with the tiles in reverse"
    // The tile that `tile` is taken from; -1: none.
    std::int64_t (*from)(std::int64_t tile, const TileGrid& grid);
};

inline constexpr TileOrder tile_orders[] = {
    {"tiles_high_before_wide", "with the tiles column by column",
     [](std::int64_t tile, const TileGrid& grid) {
         return grid.high * grid.wide > tile ? tile % grid.high * grid.wide + tile / grid.high : tile;
     }},
    {"tiles_reversed", "with the tiles in reverse",
     [](std::int64_t tile, const TileGrid& grid) { return grid.n - 1 - tile; }},
    {"tile_off_by_one", "one tile late", [](std::int64_t tile, const TileGrid&) { return tile - 1; }},
    {"first_tile_everywhere", "with the first tile in every place",
     [](std::int64_t, const TileGrid&) { return std::int64_t{0}; }},
};

}  // namespace pictor
