// An image becomes the tiles that the vision encoder sees: choose a canvas of whole tiles, resize to fit,
// pad, rescale and normalise, cut.
#pragma once

#include <cstdint>
#include <vector>

#include "base/image_decode.h"
#include "reference/checkpoint/config.h"
#include "reference/math/tensor.h"

namespace pictor {

// Rows and columns, always in this order: of pixels or of tiles.
struct ImageSize {
    std::int64_t height = 0;
    std::int64_t width = 0;
    bool operator==(const ImageSize&) const = default;
};

struct TiledImage {
    std::int64_t height = 0;  // of the original, in pixels
    std::int64_t width = 0;
    std::int64_t resized_height = 0;  // of the part of the canvas that holds the image, in pixels
    std::int64_t resized_width = 0;
    std::int64_t tiles_high = 0;
    std::int64_t tiles_wide = 0;
    std::int64_t aspect_ratio_id = 0;  // 1 + index in tile_grids(); 0 means no image
    Tensor pixel_values;  // [max_tiles][3][tile_size][tile_size], tiles row by row, absent tiles zero
    std::vector<std::int64_t> tile_mask;  // aspect_ratio_mask [max_tiles], 1 = the tile is there
};

// The allowed grids (tiles high, tiles wide) with at most max_tiles tiles, in the order that aspect_ratio_id
// counts.
std::vector<ImageSize> tile_grids(std::int64_t max_tiles);

// The canvas in pixels, a whole number of tiles, that suits an image of this size best.
ImageSize choose_canvas(ImageSize image, std::int64_t tile_size, std::int64_t max_tiles);

// The size to which an image is resized before it is put at the canvas's top left.
ImageSize fit_to_canvas(ImageSize image, ImageSize canvas, std::int64_t tile_size);

// The image at the top left of its canvas, black elsewhere: what the model sees, still in bytes.
Image image_on_canvas(const Image& image, ImageSize resized, ImageSize canvas);

// All of the above. Follows transformers' MllamaImageProcessorPil. Throws std::runtime_error when the
// configuration's sizes are not positive or absurd.
TiledImage cut_into_tiles(const Image& image, const ImageConfig& config);

}  // namespace pictor
