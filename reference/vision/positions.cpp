#include "reference/vision/positions.h"

#include <algorithm>
#include <cmath>

#include "base/at.h"
#include "reference/math/dot.h"

namespace pictor {

Tensor add_tile_embedding(const Tensor& states, const std::vector<std::int64_t>& aspect_ratio_ids,
                          const Tensor& table, float gate)
{
    const std::int64_t n_images = states.extent(0), n_tiles = states.extent(1), n_patches = states.extent(2),
                       d = states.extent(3);
    require_shape("tile embedding", table, {-1, n_tiles, d});
    Tensor sum = states;
    for (std::int64_t image = 0; image < n_images; ++image)
        for (std::int64_t tile = 0; tile < n_tiles; ++tile)
            for (std::int64_t patch = 0; patch < n_patches; ++patch)
                add_scaled(std::tanh(gate), table.row(at(aspect_ratio_ids, image), tile), d,
                           sum.row(image, tile, patch));
    return sum;
}

Tensor with_class_token(const Tensor& states, const Tensor& class_embedding)
{
    const std::int64_t n_images = states.extent(0), n_tiles = states.extent(1), n_patches = states.extent(2),
                       d = states.extent(3);
    require_shape("class embedding", class_embedding, {d});
    Tensor longer({n_images, n_tiles, 1 + n_patches, d});
    for (std::int64_t image = 0; image < n_images; ++image) {
        for (std::int64_t tile = 0; tile < n_tiles; ++tile) {
            float* rows = longer.row(image, tile);
            std::copy_n(class_embedding.data(), d, rows);
            std::copy_n(states.row(image, tile), n_patches * d, rows + d);
        }
    }
    return longer;
}

Tensor add_positions(const Tensor& states, const std::vector<std::int64_t>& aspect_ratio_ids,
                     const VisionWeights& weights)
{
    const std::int64_t n_images = states.extent(0), n_tiles = states.extent(1),
                       n_values = states.extent(2) * states.extent(3);
    require_shape("position embedding", weights.position_embedding, {states.extent(2), states.extent(3)});
    require_shape("tile position embedding", weights.tile_position_embedding, {-1, n_tiles, n_values});
    // TRAP(one_minus_tanh): one gate divides between the two tables; the plain positions get what is left.
    const float share = std::tanh(weights.position_gate);
    Tensor sum = states;
    for (std::int64_t image = 0; image < n_images; ++image) {
        for (std::int64_t tile = 0; tile < n_tiles; ++tile) {
            add_scaled(1.0f - share, weights.position_embedding.data(), n_values, sum.row(image, tile));
            add_scaled(share, weights.tile_position_embedding.row(at(aspect_ratio_ids, image), tile),
                       n_values, sum.row(image, tile));
        }
    }
    return sum;
}

}  // namespace pictor
