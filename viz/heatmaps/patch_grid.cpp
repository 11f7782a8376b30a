#include "viz/heatmaps/patch_grid.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"

namespace pictor {

void check_geometry(const PictureGeometry& g, const std::string& where)
{
    const auto refuse = [&](const std::string& what) { throw std::runtime_error(where + ": " + what); };
    for (const std::int64_t side : {g.height, g.width, g.resized_height, g.resized_width})
        if (side < 1 || side > 1000000)
            refuse(fmt::format("a side of {} pixels; 1 to 1000000 would be right", side));
    if (g.patch_size < 1 || g.tile_size < g.patch_size || g.tile_size > 16384 ||
        g.tile_size % g.patch_size != 0)
        refuse(fmt::format("tile_size {} and patch_size {}; a tile holds a whole number of patches",
                           g.tile_size, g.patch_size));
    if (g.tile_rows < 1 || g.tile_columns < 1 || g.tile_rows > 64 || g.tile_columns > 64)
        refuse(fmt::format("tiles [{}, {}]; 1 to 64 each would be right", g.tile_rows, g.tile_columns));
    if (g.resized_height > g.tile_rows * g.tile_size || g.resized_width > g.tile_columns * g.tile_size)
        refuse(fmt::format("resized [{}, {}] does not fit the canvas of {} x {} tiles of {}",
                           g.resized_height, g.resized_width, g.tile_rows, g.tile_columns, g.tile_size));
}

GridPlace place_of(const PictureGeometry& g, std::int64_t tile, std::int64_t patch)
{
    if (patch < 1 || patch >= g.patches_per_tile() || tile < 0 || tile >= g.tile_rows * g.tile_columns)
        throw std::runtime_error(fmt::format("patch {} of tile {} has no place on a canvas of {} x {} tiles",
                                             patch, tile, g.tile_rows, g.tile_columns));
    const std::int64_t side = g.patches_per_side();
    return {tile / g.tile_columns * side + (patch - 1) / side,
            tile % g.tile_columns * side + (patch - 1) % side};
}

TilePatch key_of(const PictureGeometry& g, GridPlace place)
{
    const std::int64_t side = g.patches_per_side();
    return {place.row / side * g.tile_columns + place.column / side,
            1 + place.row % side * side + place.column % side};
}

PictureRectangle rectangle_of(const PictureGeometry& g, GridPlace place)
{
    const double per_x = static_cast<double>(g.width) / static_cast<double>(g.resized_width);
    const double per_y = static_cast<double>(g.height) / static_cast<double>(g.resized_height);
    const auto edge = [&](std::int64_t index, std::int64_t end) {
        return static_cast<double>(std::min(index * g.patch_size, end));
    };
    return {edge(place.column, g.resized_width) * per_x, edge(place.row, g.resized_height) * per_y,
            edge(place.column + 1, g.resized_width) * per_x, edge(place.row + 1, g.resized_height) * per_y};
}

double share_on_picture(const PictureGeometry& g, GridPlace place)
{
    const auto covered = [&](std::int64_t index, std::int64_t end) {
        return std::clamp<std::int64_t>(end - index * g.patch_size, 0, g.patch_size);
    };
    return static_cast<double>(covered(place.column, g.resized_width) *
                               covered(place.row, g.resized_height)) /
           static_cast<double>(g.patch_size * g.patch_size);
}

std::optional<GridPlace> patch_at(const PictureGeometry& g, double x, double y)
{
    if (!(x >= 0 && y >= 0 && x < static_cast<double>(g.width) && y < static_cast<double>(g.height)))
        return std::nullopt;
    const double canvas_x = x * static_cast<double>(g.resized_width) / static_cast<double>(g.width);
    const double canvas_y = y * static_cast<double>(g.resized_height) / static_cast<double>(g.height);
    return GridPlace{static_cast<std::int64_t>(canvas_y) / g.patch_size,
                     static_cast<std::int64_t>(canvas_x) / g.patch_size};
}

std::vector<double> rounded_percentages(const Ledger& ledger)
{
    const std::vector<double> parts{ledger.picture,      ledger.padding,        ledger.absent,
                                    ledger.class_tokens, ledger.other_pictures, ledger.padding_rows};
    const double sum = ledger.sum();
    if (!(sum > 0))
        return std::vector<double>(parts.size(), 0.0);
    std::vector<std::int64_t> tenths;
    std::vector<double> remainder;
    for (const double part : parts) {
        const double exact = 1000 * part / sum;
        tenths.push_back(static_cast<std::int64_t>(std::floor(exact)));
        remainder.push_back(exact - std::floor(exact));
    }
    std::vector<std::size_t> order(parts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
    const std::int64_t missing = 1000 - std::accumulate(tenths.begin(), tenths.end(), std::int64_t{0});
    for (std::int64_t i = 0; i < missing; ++i)
        ++tenths[at(order, i % std::ssize(order))];
    std::vector<double> result;
    for (const std::int64_t value : tenths)
        result.push_back(static_cast<double>(value) / 10.0);
    return result;
}

std::vector<double> lay_out(const PictureGeometry& g, const std::vector<double>& key_weights,
                            std::int64_t picture, std::int64_t max_tiles, std::int64_t rows_per_tile)
{
    std::vector<double> grid(static_cast<std::size_t>(g.grid_rows() * g.grid_columns()));
    const std::int64_t per_tile = rows_per_tile > 0 ? rows_per_tile : g.patches_per_tile();
    const std::int64_t first = picture * max_tiles * per_tile;
    for (std::int64_t tile = 0; tile < g.tile_rows * g.tile_columns; ++tile) {
        for (std::int64_t patch = 1; patch < g.patches_per_tile(); ++patch) {
            const GridPlace place = place_of(g, tile, patch);
            at(grid, place.row * g.grid_columns() + place.column) =
                at(key_weights, first + tile * per_tile + patch);
        }
    }
    return grid;
}

Ledger make_ledger(const PictureGeometry& g, const std::vector<double>& key_weights, std::int64_t picture,
                   std::int64_t max_tiles, std::int64_t rows_per_tile)
{
    Ledger ledger;
    const std::int64_t per_tile = rows_per_tile > 0 ? rows_per_tile : g.patches_per_tile();
    for (std::int64_t key = 0; key < static_cast<std::int64_t>(key_weights.size()); ++key) {
        const double weight = at(key_weights, key);
        const std::int64_t tile = key / per_tile % max_tiles;
        const std::int64_t patch = key % per_tile;
        if (key / (per_tile * max_tiles) != picture) {
            ledger.other_pictures += weight;
        } else if (tile >= g.tile_rows * g.tile_columns) {
            ledger.absent += weight;
        } else if (patch >= g.patches_per_tile()) {
            ledger.padding_rows += weight;
        } else if (patch == 0) {
            ledger.class_tokens += weight;
        } else {
            const double share = share_on_picture(g, place_of(g, tile, patch));
            ledger.picture += weight * share;
            ledger.padding += weight * (1 - share);
        }
    }
    return ledger;
}

}  // namespace pictor
