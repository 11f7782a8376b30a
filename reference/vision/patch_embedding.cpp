#include "reference/vision/patch_embedding.h"

#include <algorithm>

#include "reference/math/linear.h"

namespace pictor {

Tensor patch_embedding(const VisionWeights& weights, const VisionConfig& config, const Tensor& pixels)
{
    const std::int64_t size = config.tile_size, patch_size = config.patch_size,
                       per_side = config.patches_per_side();
    require_shape("pixel_values", pixels, {-1, config.max_tiles, 3, size, size});
    const std::int64_t n_images = pixels.extent(0), n_tiles = pixels.extent(1);

    // A convolution whose steps do not overlap is a linear layer on each patch's pixels, in order colour, y,
    // x.
    Tensor patches({n_images, n_tiles, per_side * per_side, 3 * patch_size * patch_size});
    for (std::int64_t tile = 0; tile < n_images * n_tiles; ++tile) {
        const float* tile_pixels = pixels.data() + tile * 3 * size * size;
        for (std::int64_t patch = 0; patch < per_side * per_side; ++patch) {
            const std::int64_t top = patch / per_side * patch_size, left = patch % per_side * patch_size;
            float* out = patches.row(tile / n_tiles, tile % n_tiles) + patch * 3 * patch_size * patch_size;
            for (std::int64_t colour = 0; colour < 3; ++colour)
                for (std::int64_t y = 0; y < patch_size; ++y)
                    out = std::copy_n(tile_pixels + (colour * size + top + y) * size + left, patch_size, out);
        }
    }
    return linear(patches, weights.patch_embedding);
}

}  // namespace pictor
