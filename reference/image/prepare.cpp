#include "reference/image/prepare.h"

#include <algorithm>

#include "base/at.h"

namespace pictor {

nlohmann::json describe_image(const TiledImage& image, const std::filesystem::path& file,
                              const VisionConfig& config)
{
    return {{"file", file.string()},
            {"size", {image.height, image.width}},
            {"resized", {image.resized_height, image.resized_width}},
            {"tiles", {image.tiles_high, image.tiles_wide}},
            {"tile_size", config.tile_size},
            {"patch_size", config.patch_size},
            {"aspect_ratio_id", image.aspect_ratio_id}};
}

PreparedImages prepare_images(const std::vector<std::filesystem::path>& files, const ModelConfig& config)
{
    const std::int64_t n_images = std::ssize(files), n_tiles = config.vision.max_tiles;
    const std::int64_t size = config.vision.tile_size;
    PreparedImages prepared;
    prepared.inputs.pixel_values = Tensor({n_images, n_tiles, 3, size, size});
    for (std::int64_t index = 0; index < n_images; ++index) {
        const TiledImage image = cut_into_tiles(decode_image(at(files, index)), config.image);
        require_shape("image tiles", image.pixel_values, {n_tiles, 3, size, size});
        std::copy(image.pixel_values.values.begin(), image.pixel_values.values.end(),
                  prepared.inputs.pixel_values.row(index));
        prepared.inputs.aspect_ratio_ids.push_back(image.aspect_ratio_id);
        std::vector<std::int64_t>& mask = prepared.inputs.aspect_ratio_mask;
        mask.insert(mask.end(), image.tile_mask.begin(), image.tile_mask.end());
        prepared.tiles_present.push_back(image.tiles_high * image.tiles_wide);
        prepared.descriptions.push_back(describe_image(image, at(files, index), config.vision));
    }
    return prepared;
}

}  // namespace pictor
