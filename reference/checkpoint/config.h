// The sizes of a model, from config.json, generation_config.json and preprocessor_config.json.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace pictor {

// Rotary position embedding; with `scaled`, the llama3 rule for long contexts.
struct RopeConfig {
    double theta = 500000.0;
    bool scaled = false;
    double factor = 8.0;
    double low_freq_factor = 1.0;
    double high_freq_factor = 4.0;
    std::int64_t original_length = 8192;
};

struct TextConfig {
    std::int64_t n_vocabulary = 0;  // rows of the LM head; the embedding table has 8 more
    std::int64_t d_model = 0;
    std::int64_t n_layers = 0;  // self and cross layers together
    std::int64_t n_heads = 0;
    std::int64_t n_kv_heads = 0;
    std::int64_t d_head = 0;
    std::int64_t d_mlp = 0;
    std::vector<std::int64_t> cross_attention_layers;
    float rms_norm_eps = 1e-5f;
    RopeConfig rope;
    std::int64_t max_positions = 131072;

    bool is_cross_attention_layer(std::int64_t layer) const;
};

struct VisionConfig {
    std::int64_t d_model = 0;
    std::int64_t n_layers = 0;  // local layers
    std::int64_t n_global_layers = 0;
    std::int64_t n_heads = 0;
    std::int64_t d_head = 0;
    std::int64_t d_mlp = 0;
    std::int64_t tile_size = 0;   // pixels
    std::int64_t patch_size = 0;  // pixels
    std::int64_t max_tiles = 0;
    std::vector<std::int64_t> kept_layers;  // intermediate_layers_indices, ascending
    std::vector<std::array<std::int64_t, 2>>
        aspect_ratios;             // (h, w) in tiles; aspect_ratio_id - 1 is the index
    float layer_norm_eps = 1e-5f;  // of the layers; layernorm_pre and _post have 1e-5 whatever it is

    std::int64_t patches_per_side() const { return tile_size / patch_size; }
    std::int64_t n_patches() const
    {
        return patches_per_side() * patches_per_side() + 1;
    }  // of a tile, class token included
    std::int64_t n_padded_patches() const
    {
        return (n_patches() + 7) / 8 * 8;
    }  // rows of a tile inside the encoder
    std::int64_t d_output() const { return d_model * (1 + static_cast<std::int64_t>(kept_layers.size())); }
};

// How pictures become pixel values, from preprocessor_config.json.
struct ImageConfig {
    std::array<double, 3> mean{};
    std::array<double, 3> std{};
    double rescale_factor = 1.0 / 255.0;
    std::int64_t tile_size = 0;
    std::int64_t max_tiles = 0;
};

struct ModelConfig {
    TextConfig text;
    VisionConfig vision;
    ImageConfig image;
    std::int64_t image_token = 0;  // `<|image|>`
    std::int64_t bos_token = 0;
    std::vector<std::int64_t> end_tokens;  // any of them ends an answer
    std::int64_t trained_turns = 0;        // of the longest conversations in its training; 0: not known
};

// Reads and checks the three files of a checkpoint folder. preprocessor_config.json (or
// processor_config.json, as newer releases of transformers write it) and generation_config.json may be absent
// (then `picture` falls back on CLIP's mean and std, and the end tokens on config.json's). Throws
// std::runtime_error naming the file, the field, what was found and what would be right.
ModelConfig read_config(const std::filesystem::path& folder);

// The sizes for a trace's "model" field and for `inspect`.
nlohmann::json describe_config(const ModelConfig& config);

}  // namespace pictor
