// From a key of cross-attention to a place on the original picture, and back.
//
// Keys run picture, tile, patch; patch 0 of a tile is its class token, the rest lie row by row. Tiles lie row
// by row on a canvas of (h, w) tiles. The picture, resized, fills the canvas from its top left corner; what
// it leaves free on the right and at the bottom is padding. Tiles the canvas does not need are absent: they
// are keys without a place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pictor {

struct PictureGeometry {
    std::int64_t height = 0, width = 0;  // of the original, in pixels
    std::int64_t resized_height = 0, resized_width = 0;
    std::int64_t tile_rows = 0, tile_columns = 0;
    std::int64_t tile_size = 0;   // pixels
    std::int64_t patch_size = 0;  // pixels

    std::int64_t patches_per_side() const { return tile_size / patch_size; }
    std::int64_t patches_per_tile() const
    {
        return patches_per_side() * patches_per_side() + 1;
    }                                                                          // class token included
    std::int64_t grid_rows() const { return tile_rows * patches_per_side(); }  // patches on the canvas
    std::int64_t grid_columns() const { return tile_columns * patches_per_side(); }
};

// Throws std::runtime_error when the numbers contradict each other; `where` begins the message.
void check_geometry(const PictureGeometry& geometry, const std::string& where);

struct GridPlace {
    std::int64_t row = 0, column = 0;  // in patches, on the canvas
    bool operator==(const GridPlace&) const = default;
};

// patch counts from 1; 0 is the class token and has no place. tile must be on the canvas.
GridPlace place_of(const PictureGeometry& geometry, std::int64_t tile, std::int64_t patch);

struct TilePatch {
    std::int64_t tile = 0, patch = 0;
    bool operator==(const TilePatch&) const = default;
};
TilePatch key_of(const PictureGeometry& geometry, GridPlace place);

// The part of a patch that shows the picture, in pixels of the original. Empty (x1 <= x0 or y1 <= y0): only
// padding.
struct PictureRectangle {
    double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
    bool empty() const { return x1 <= x0 || y1 <= y0; }
};
PictureRectangle rectangle_of(const PictureGeometry& geometry, GridPlace place);

// Which part of the patch's pixels show the picture, 0..1; the rest are padding.
double share_on_picture(const PictureGeometry& geometry, GridPlace place);

// The patch that a pixel position of the original was read through; none outside of it.
std::optional<GridPlace> patch_at(const PictureGeometry& geometry, double x, double y);

// Where the attention of one row went, in shares of 1.
struct Ledger {
    double picture = 0;         // patches, as far as they show this picture
    double padding = 0;         // padding pixels inside its tiles
    double absent = 0;          // tiles its canvas does not have
    double class_tokens = 0;    // of its tiles
    double other_pictures = 0;  // everything of the other pictures
    double padding_rows =
        0;  // inside the vision encoder only: the rows that fill a tile up to a multiple of 8
    double sum() const { return picture + padding + absent + class_tokens + other_pictures + padding_rows; }
};

// Percentages with one decimal that add up to 100.0 exactly (largest remainder), in the ledger's order.
std::vector<double> rounded_percentages(const Ledger& ledger);

// The weights of one picture's patches laid out as it lies on the canvas, [grid_rows][grid_columns].
// rows_per_tile: keys of a tile; 0 means its patches and class token, as cross-attention has them; the vision
// encoder has padding rows too.
std::vector<double> lay_out(const PictureGeometry& geometry, const std::vector<double>& key_weights,
                            std::int64_t picture, std::int64_t max_tiles, std::int64_t rows_per_tile = 0);

// Sums up the same weights by kind of key. All pictures share tile and patch size.
Ledger make_ledger(const PictureGeometry& geometry, const std::vector<double>& key_weights,
                   std::int64_t picture, std::int64_t max_tiles, std::int64_t rows_per_tile = 0);

}  // namespace pictor
