// Image files to what the vision encoder takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include "reference/checkpoint/config.h"
#include "reference/image/tiles.h"
#include "reference/vision/encoder.h"

namespace pictor {

struct PreparedImages {
    VisionInputs inputs;
    std::vector<std::int64_t> tiles_present;                // [image]
    nlohmann::json descriptions = nlohmann::json::array();  // for a trace's "images" field
};

// Decodes, resizes and tiles each file. Throws std::runtime_error naming a file that cannot be decoded.
PreparedImages prepare_images(const std::vector<std::filesystem::path>& files, const ModelConfig& config);

// What a trace says of one image.
nlohmann::json describe_image(const TiledImage& image, const std::filesystem::path& file,
                              const VisionConfig& config);

}  // namespace pictor
