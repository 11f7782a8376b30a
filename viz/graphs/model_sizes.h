// The sizes of a model as its diagram needs them, from config.json, a preset or a trace.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace pictor {

struct ModelSizes {
    std::string name;
    std::int64_t d_text = 0, n_text_layers = 0, n_heads = 0, n_kv_heads = 0, d_head = 0, d_text_mlp = 0,
                 n_vocabulary = 0;
    std::vector<std::int64_t> cross_layers;
    std::int64_t d_vision = 0, n_local_layers = 0, n_global_layers = 0, n_vision_heads = 0, d_vision_mlp = 0;
    std::int64_t tile_size = 0, patch_size = 0, max_tiles = 0, n_aspect_ratios = 0;
    std::vector<std::int64_t> kept_layers;

    std::int64_t patches_per_side() const { return tile_size / patch_size; }
    std::int64_t n_patches() const
    {
        return patches_per_side() * patches_per_side() + 1;
    }  // of a tile, class token included
    std::int64_t n_padded_patches() const { return (n_patches() + 7) / 8 * 8; }
    std::int64_t d_vision_output() const
    {
        return d_vision * (1 + static_cast<std::int64_t>(kept_layers.size()));
    }
    bool is_cross(std::int64_t layer) const;
};

// Parameters of each part; the sum is the model's.
struct ParameterCounts {
    std::int64_t patch_embedding = 0, pre_tile = 0, positions = 0, vision_norms = 0, post_tile = 0;
    std::int64_t local_layer = 0, global_layer = 0, projector = 0;
    std::int64_t embedding_table = 0, self_layer = 0, cross_layer = 0, final_norm = 0, lm_head = 0;
    std::int64_t vision = 0, text = 0, total = 0;  // vision with the projector
};

ParameterCounts count_parameters(const ModelSizes& sizes);

// config.json of a checkpoint. Throws std::runtime_error naming the file, the field, what was found, what
// would be right.
ModelSizes read_model_sizes(const std::filesystem::path& config_file, const std::string& name);

// "11b" or "90b": the released Llama 3.2-Vision models.
ModelSizes preset_sizes(const std::string& preset);

std::string count_text(std::int64_t parameters);  // "2.9 M"

}  // namespace pictor
