// Pictures cut into tiles of 28 pixels, small enough to follow every pixel.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/image/tiles.h"
#include "viz/heatmaps/patch_grid.h"

namespace pictor::testing {

constexpr std::int64_t tile_size = 28, patch_size = 7;

inline ImageConfig small_tiles()
{
    ImageConfig config;
    config.mean = {0.5, 0.5, 0.5};
    config.std = {0.5, 0.5, 0.5};
    config.tile_size = tile_size;
    config.max_tiles = 4;
    return config;
}

inline PictureGeometry geometry_of(const TiledImage& tiled)
{
    return {tiled.height,        tiled.width,      tiled.resized_height,
            tiled.resized_width, tiled.tiles_high, tiled.tiles_wide,
            tile_size,           patch_size};
}

inline Image blank(std::int64_t height, std::int64_t width)
{
    return {height, width, std::vector<std::uint8_t>(static_cast<std::size_t>(height * width * 3), 0)};
}

// Sizes (h, w) that land on each of the eight grids, with and without padding, odd sides, enlarged and
// shrunk.
inline const std::vector<ImageSize> sizes{{28, 28}, {5, 5},    {27, 23}, {28, 56}, {21, 50}, {28, 84},
                                          {11, 41}, {28, 112}, {17, 83}, {13, 97}, {56, 28}, {53, 19},
                                          {56, 56}, {41, 55},  {57, 57}, {84, 28}, {77, 25}, {112, 28},
                                          {97, 13}, {131, 30}, {39, 171}};

}  // namespace pictor::testing
