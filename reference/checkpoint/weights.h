// The parameters of the model, by the step that uses them.
//
// Matrices stay in the memory-mapped file in the file's dtype and are widened where they are used; vectors
// and embedding tables of the vision side, which are small, are widened to float32 once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "reference/checkpoint/config.h"
#include "reference/math/linear.h"
#include "reference/math/tensor.h"

namespace pictor {

struct LayerNormWeights {
    Tensor weight;  // [d_model]
    Tensor bias;    // [d_model]
};

struct VisionLayerWeights {
    LayerNormWeights input_layernorm;
    Matrix q_proj, k_proj, v_proj, o_proj;  // [d_model][d_model], no biases
    LayerNormWeights post_attention_layernorm;
    Matrix fc1;       // [d_mlp][d_model]
    Tensor fc1_bias;  // [d_mlp]
    Matrix fc2;       // [d_model][d_mlp]
    Tensor fc2_bias;  // [d_model]
    bool is_global = false;
    float gate_attn = 0;  // global layers only, before tanh
    float gate_ffn = 0;
};

struct VisionWeights {
    Matrix patch_embedding;     // [d_model][3 * patch * patch], input order colour, y, x
    Tensor class_embedding;     // [d_model]
    float pre_tile_gate = 0;    // gates are stored before tanh
    Tensor pre_tile_embedding;  // [aspect id][tile][d_model]
    float post_tile_gate = 0;
    Tensor post_tile_embedding;  // [aspect id][tile][d_model]
    float position_gate = 0;
    Tensor position_embedding;       // [patch][d_model]
    Tensor tile_position_embedding;  // [aspect id][tile][patch * d_model]
    LayerNormWeights layernorm_pre, layernorm_post;
    std::vector<VisionLayerWeights> layers;  // local
    std::vector<VisionLayerWeights> global_layers;
};

struct TextMlpWeights {
    Matrix gate_proj, up_proj;  // [d_mlp][d_model]
    Matrix down_proj;           // [d_model][d_mlp]
};

struct SelfAttentionWeights {
    Matrix q_proj;          // [n_heads * d_head][d_model]
    Matrix k_proj, v_proj;  // [n_kv_heads * d_head][d_model]
    Matrix o_proj;          // [d_model][n_heads * d_head]
};

struct CrossAttentionWeights {
    Matrix q_proj;          // [n_heads * d_head][d_model]
    Matrix k_proj, v_proj;  // [n_kv_heads * d_head][d_model]
    Matrix o_proj;          // [d_model][n_heads * d_head]
    Tensor q_norm, k_norm;  // [d_head]
};

struct TextLayerWeights {
    bool is_cross = false;
    Tensor input_layernorm;                 // [d_model]
    SelfAttentionWeights self_attention;    // when not is_cross
    CrossAttentionWeights cross_attention;  // when is_cross
    float attention_gate = 0;               // when is_cross, before tanh
    float mlp_gate = 0;                     // when is_cross, before tanh
    Tensor post_attention_layernorm;        // [d_model]
    TextMlpWeights mlp;
};

struct TextWeights {
    Matrix embed_tokens;  // [n_vocabulary + 8][d_model]
    std::vector<TextLayerWeights> layers;
    Tensor norm;     // [d_model]
    Matrix lm_head;  // [n_vocabulary][d_model]
};

struct ProjectorWeights {
    Matrix weight;  // [text d_model][vision d_output]
    Tensor bias;    // [text d_model]
};

class SafetensorsFile;
struct TensorInfo;

struct Weights {
    VisionWeights vision;
    ProjectorWeights projector;
    TextWeights text;
    std::vector<std::shared_ptr<const SafetensorsFile>> files;  // keep the mapped memory alive
    std::vector<std::shared_ptr<const std::vector<float>>>
        aligned_copies;                   // of matrices at odd addresses in a file
    std::vector<std::string> unexpected;  // names in the files that no step uses
};

// Matrices are searched for NaN and infinity when a checkpoint's files are smaller than this together; in
// larger ones only vectors are, because reading every byte would cost the quick start that mapping gives.
inline constexpr std::uint64_t check_matrices_below_bytes = std::uint64_t{1} << 30;

// What stands in a checkpoint, and what is wrong with it. The weights are usable when `missing` and `wrong`
// are empty.
struct FoundWeights {
    Weights weights;
    std::vector<std::string> missing;  // names, in the naming scheme of the files
    std::vector<std::string>
        wrong;  // "NAME is F32 [2, 3], wanted [3, 2]"; also dtypes and non-finite numbers
    std::vector<const TensorInfo*> used;  // into weights.files
};

// Maps model.safetensors, or the shards of model.safetensors.index.json, and finds every parameter under
// either naming scheme. Throws std::runtime_error only for files that cannot be read as such.
FoundWeights find_weights(const std::filesystem::path& folder, const ModelConfig& config);

// The same for a model that is to run: throws std::runtime_error naming the folder and the tensors that are
// missing, have the wrong shape or dtype, or hold NaN or infinity.
Weights load_weights(const std::filesystem::path& folder, const ModelConfig& config);

}  // namespace pictor
