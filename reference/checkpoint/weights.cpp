#include "reference/checkpoint/weights.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "reference/checkpoint/load_tensors.h"

namespace pictor {

namespace {

// What comes before the names of each part. The hub's files, and transformers up to 4.51, write the first
// set; newer transformers write either, depending on how the model was loaded.
struct NamingScheme {
    std::string vision, projector, text, lm_head;
};
const NamingScheme hub_scheme{"vision_model.", "multi_modal_projector.", "language_model.model.",
                              "language_model.lm_head."};
const NamingScheme new_scheme{"model.vision_model.", "model.multi_modal_projector.", "model.language_model.",
                              "lm_head."};

// A number is NaN or infinite exactly when all bits of its exponent are ones, so nothing needs widening.
template <typename Bits> bool all_finite(const TensorInfo& info, Bits exponent)
{
    Bits bits = 0;
    for (std::uint64_t offset = 0; offset < info.bytes; offset += sizeof bits) {
        std::memcpy(&bits, info.data + offset, sizeof bits);
        if ((bits & exponent) == exponent)
            return false;
    }
    return true;
}

bool all_finite(const TensorInfo& info, DType dtype)
{
    if (dtype == DType::f32)
        return all_finite<std::uint32_t>(info, 0x7f800000u);
    return all_finite<std::uint16_t>(info, dtype == DType::bf16 ? 0x7f80u : 0x7c00u);
}

// Takes parameters out of the files by name, and keeps account of what was missing, wrong and left over.
class Finder {
public:
    explicit Finder(const std::filesystem::path& folder)
    {
        found_.weights.files = open_checkpoint(folder);
        std::uint64_t bytes = 0;
        std::size_t hub_names = 0, new_names = 0;
        for (const auto& file : found_.weights.files) {
            bytes += file->size();
            for (const TensorInfo& info : file->tensors()) {
                all_[info.name] = &info;
                hub_names +=
                    info.name.starts_with("language_model.") || info.name.starts_with(hub_scheme.vision);
                new_names +=
                    info.name.starts_with(new_scheme.text) || info.name.starts_with(new_scheme.vision);
            }
        }
        check_matrices_ = bytes < check_matrices_below_bytes;
        names = new_names > hub_names ? new_scheme : hub_scheme;
    }

    NamingScheme names;

    // wanted: the shape in the file, whose first axis is out and whose others together are in.
    Matrix matrix(const std::string& name, const Shape& wanted)
    {
        DType dtype{};
        const TensorInfo* info = take(name, wanted, check_matrices_, dtype);
        if (info == nullptr)
            return {};
        Matrix matrix{info->data, dtype, wanted[0], info->count / wanted[0], name};
        if (!is_aligned(*info)) {
            const auto copy = std::make_shared<const std::vector<float>>(aligned_copy(*info));
            found_.weights.aligned_copies.push_back(copy);
            matrix.data = copy->data();
        }
        return matrix;
    }

    // A vector or small table, widened to float32 under `shape`, which is the file's shape or another of the
    // same size.
    Tensor tensor(const std::string& name, const Shape& wanted, const Shape& shape)
    {
        DType dtype{};
        const TensorInfo* info = take(name, wanted, true, dtype);
        if (info == nullptr)
            return {};
        Tensor tensor = widen(*info);
        tensor.shape = shape;
        return tensor;
    }
    Tensor tensor(const std::string& name, const Shape& wanted) { return tensor(name, wanted, wanted); }

    float gate(const std::string& name)
    {
        const Tensor gate = tensor(name, {1});
        return gate.empty() ? 0.0f : gate.values[0];
    }

    LayerNormWeights layer_norm(const std::string& name, std::int64_t d_model)
    {
        return {tensor(name + ".weight", {d_model}), tensor(name + ".bias", {d_model})};
    }

    FoundWeights finish()
    {
        for (const auto& file : found_.weights.files)
            for (const TensorInfo& info : file->tensors())
                if (!taken_.contains(info.name))
                    found_.weights.unexpected.push_back(info.name);
        return std::move(found_);
    }

    Weights& weights() { return found_.weights; }

private:
    // Null when there is no such tensor or it cannot be used; which is then noted.
    const TensorInfo* take(const std::string& name, const Shape& wanted, bool check_finite, DType& dtype)
    {
        const auto found = all_.find(name);
        if (found == all_.end()) {
            found_.missing.push_back(name);
            return nullptr;
        }
        const TensorInfo* info = found->second;
        taken_.insert(name);
        found_.used.push_back(info);
        if (info->shape != wanted) {
            found_.wrong.push_back(fmt::format("{} is {} {}, wanted {}", name, info->dtype,
                                               shape_text(info->shape), shape_text(wanted)));
        } else if (!parse_dtype(info->dtype, dtype)) {
            found_.wrong.push_back(fmt::format("{} is {}, wanted F32, BF16 or F16", name, info->dtype));
        } else {
            if (check_finite && !all_finite(*info, dtype))
                found_.wrong.push_back(fmt::format("{} holds NaN or infinity, wanted finite numbers", name));
            return info;
        }
        return nullptr;
    }

    FoundWeights found_;
    std::unordered_map<std::string, const TensorInfo*> all_;
    std::unordered_set<std::string> taken_;
    bool check_matrices_ = false;
};

VisionLayerWeights find_vision_layer(Finder& finder, const VisionConfig& config, const std::string& name,
                                     bool is_global)
{
    const std::int64_t d_model = config.d_model, d_mlp = config.d_mlp;
    VisionLayerWeights layer;
    layer.input_layernorm = finder.layer_norm(name + "input_layernorm", d_model);
    layer.q_proj = finder.matrix(name + "self_attn.q_proj.weight", {d_model, d_model});
    layer.k_proj = finder.matrix(name + "self_attn.k_proj.weight", {d_model, d_model});
    layer.v_proj = finder.matrix(name + "self_attn.v_proj.weight", {d_model, d_model});
    layer.o_proj = finder.matrix(name + "self_attn.o_proj.weight", {d_model, d_model});
    layer.post_attention_layernorm = finder.layer_norm(name + "post_attention_layernorm", d_model);
    layer.fc1 = finder.matrix(name + "mlp.fc1.weight", {d_mlp, d_model});
    layer.fc1_bias = finder.tensor(name + "mlp.fc1.bias", {d_mlp});
    layer.fc2 = finder.matrix(name + "mlp.fc2.weight", {d_model, d_mlp});
    layer.fc2_bias = finder.tensor(name + "mlp.fc2.bias", {d_model});
    layer.is_global = is_global;
    if (is_global) {
        layer.gate_attn = finder.gate(name + "gate_attn");
        layer.gate_ffn = finder.gate(name + "gate_ffn");
    }
    return layer;
}

VisionWeights find_vision(Finder& finder, const VisionConfig& config)
{
    const std::string& name = finder.names.vision;
    const std::int64_t d_model = config.d_model, n_tiles = config.max_tiles, n_patches = config.n_patches();
    const std::int64_t n_ids =
        1 + static_cast<std::int64_t>(config.aspect_ratios.size());  // id 0: no picture
    const Shape tile_table{n_ids, n_tiles, d_model};

    VisionWeights vision;
    // The convolution's kernel [d_model][colour][y][x] is a matrix as it lies: one row per output channel.
    vision.patch_embedding =
        finder.matrix(name + "patch_embedding.weight", {d_model, 3, config.patch_size, config.patch_size});
    vision.class_embedding = finder.tensor(name + "class_embedding", {d_model});
    const std::string pre_tile = name + "pre_tile_positional_embedding.";
    vision.pre_tile_gate = finder.gate(pre_tile + "gate");
    vision.pre_tile_embedding =
        finder.tensor(pre_tile + "embedding.weight", {n_ids, n_tiles * d_model}, tile_table);
    const std::string post_tile = name + "post_tile_positional_embedding.";
    vision.post_tile_gate = finder.gate(post_tile + "gate");
    vision.post_tile_embedding =
        finder.tensor(post_tile + "embedding.weight", {n_ids, n_tiles * d_model}, tile_table);
    const std::string position = name + "gated_positional_embedding.";
    vision.position_gate = finder.gate(position + "gate");
    vision.position_embedding = finder.tensor(position + "embedding", {n_patches, d_model});
    vision.tile_position_embedding =
        finder.tensor(position + "tile_embedding.weight", {n_ids, n_tiles * n_patches * d_model},
                      {n_ids, n_tiles, n_patches * d_model});
    vision.layernorm_pre = finder.layer_norm(name + "layernorm_pre", d_model);
    vision.layernorm_post = finder.layer_norm(name + "layernorm_post", d_model);
    for (std::int64_t layer = 0; layer < config.n_layers; ++layer)
        vision.layers.push_back(
            find_vision_layer(finder, config, fmt::format("{}transformer.layers.{}.", name, layer), false));
    for (std::int64_t layer = 0; layer < config.n_global_layers; ++layer)
        vision.global_layers.push_back(find_vision_layer(
            finder, config, fmt::format("{}global_transformer.layers.{}.", name, layer), true));
    return vision;
}

TextLayerWeights find_text_layer(Finder& finder, const TextConfig& config, const std::string& name,
                                 bool is_cross)
{
    const std::int64_t d_model = config.d_model, d_mlp = config.d_mlp, d_head = config.d_head;
    const std::int64_t d_query = config.n_heads * d_head, d_key = config.n_kv_heads * d_head;
    TextLayerWeights layer;
    layer.is_cross = is_cross;
    layer.input_layernorm = finder.tensor(name + "input_layernorm.weight", {d_model});
    if (is_cross) {
        CrossAttentionWeights& attention = layer.cross_attention;
        attention.q_proj = finder.matrix(name + "cross_attn.q_proj.weight", {d_query, d_model});
        attention.k_proj = finder.matrix(name + "cross_attn.k_proj.weight", {d_key, d_model});
        attention.v_proj = finder.matrix(name + "cross_attn.v_proj.weight", {d_key, d_model});
        attention.o_proj = finder.matrix(name + "cross_attn.o_proj.weight", {d_model, d_query});
        attention.q_norm = finder.tensor(name + "cross_attn.q_norm.weight", {d_head});
        attention.k_norm = finder.tensor(name + "cross_attn.k_norm.weight", {d_head});
        layer.attention_gate = finder.gate(name + "cross_attn_attn_gate");
        layer.mlp_gate = finder.gate(name + "cross_attn_mlp_gate");
    } else {
        SelfAttentionWeights& attention = layer.self_attention;
        attention.q_proj = finder.matrix(name + "self_attn.q_proj.weight", {d_query, d_model});
        attention.k_proj = finder.matrix(name + "self_attn.k_proj.weight", {d_key, d_model});
        attention.v_proj = finder.matrix(name + "self_attn.v_proj.weight", {d_key, d_model});
        attention.o_proj = finder.matrix(name + "self_attn.o_proj.weight", {d_model, d_query});
    }
    layer.post_attention_layernorm = finder.tensor(name + "post_attention_layernorm.weight", {d_model});
    layer.mlp.gate_proj = finder.matrix(name + "mlp.gate_proj.weight", {d_mlp, d_model});
    layer.mlp.up_proj = finder.matrix(name + "mlp.up_proj.weight", {d_mlp, d_model});
    layer.mlp.down_proj = finder.matrix(name + "mlp.down_proj.weight", {d_model, d_mlp});
    return layer;
}

TextWeights find_text(Finder& finder, const TextConfig& config)
{
    const std::string& name = finder.names.text;
    TextWeights text;
    // TRAP(embedding_rows): 8 rows more than the vocabulary; the first of them is <|image|>. The LM head has
    // none of them, so a model can read the image token and never say it.
    text.embed_tokens =
        finder.matrix(name + "embed_tokens.weight", {config.n_vocabulary + 8, config.d_model});
    for (std::int64_t layer = 0; layer < config.n_layers; ++layer)
        text.layers.push_back(find_text_layer(finder, config, fmt::format("{}layers.{}.", name, layer),
                                              config.is_cross_attention_layer(layer)));
    text.norm = finder.tensor(name + "norm.weight", {config.d_model});
    text.lm_head = finder.matrix(finder.names.lm_head + "weight", {config.n_vocabulary, config.d_model});
    return text;
}

// "3 tensors are missing (a, b, c)"; long lists are cut.
std::string list_text(const std::vector<std::string>& items, std::string_view what)
{
    constexpr std::size_t most = 8;
    const auto end = items.begin() + static_cast<std::ptrdiff_t>(std::min(items.size(), most));
    std::string text = fmt::format("{} tensor{} {}: {}", items.size(), items.size() == 1 ? "" : "s", what,
                                   fmt::join(items.begin(), end, "; "));
    if (items.size() > most)
        text += fmt::format("; and {} more", items.size() - most);
    return text;
}

}  // namespace

FoundWeights find_weights(const std::filesystem::path& folder, const ModelConfig& config)
{
    Finder finder(folder);
    finder.weights().vision = find_vision(finder, config.vision);
    const std::string& projector = finder.names.projector;
    finder.weights().projector.weight =
        finder.matrix(projector + "weight", {config.text.d_model, config.vision.d_output()});
    finder.weights().projector.bias = finder.tensor(projector + "bias", {config.text.d_model});
    finder.weights().text = find_text(finder, config.text);
    return finder.finish();
}

Weights load_weights(const std::filesystem::path& folder, const ModelConfig& config)
{
    FoundWeights found = find_weights(folder, config);
    if (!found.missing.empty() || !found.wrong.empty()) {
        std::string message = folder.string();
        if (!found.missing.empty())
            message += ": " + list_text(found.missing, "missing");
        if (!found.wrong.empty())
            message += ": " + list_text(found.wrong, "wrong");
        if (!found.missing.empty() && !found.weights.unexpected.empty())
            message += ": " + list_text(found.weights.unexpected, "unexpected");
        throw std::runtime_error(message);
    }
    return std::move(found.weights);
}

}  // namespace pictor
