#include "reference/checkpoint/synthetic_values.h"

#include <cmath>

#include <fmt/format.h>

#include "base/at.h"

namespace pictor {

namespace {

// FNV-1a, 64 bits.
std::uint64_t hash_of_name(const std::string& name)
{
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char byte : name)
        hash = (hash ^ byte) * 0x100000001b3u;
    return hash;
}

// The mixing steps of splitmix64: each bit of the result depends on every bit that goes in.
std::uint64_t mix(std::uint64_t bits)
{
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
    return bits ^ (bits >> 31);
}

bool contains(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

struct List {
    std::vector<SyntheticParameter> parameters;

    void add(const std::string& name, Shape shape, std::int64_t tile_width = 0)
    {
        parameters.push_back({name, std::move(shape), tile_width});
    }
    void layer_norm(const std::string& name, std::int64_t d_model)
    {
        add(name + ".weight", {d_model});
        add(name + ".bias", {d_model});
    }
};

void list_vision_layer(List& list, const VisionConfig& config, const std::string& name, bool is_global)
{
    const std::int64_t d_model = config.d_model, d_mlp = config.d_mlp;
    list.layer_norm(name + "input_layernorm", d_model);
    for (const char* projection : {"q_proj", "k_proj", "v_proj", "o_proj"})
        list.add(fmt::format("{}self_attn.{}.weight", name, projection), {d_model, d_model});
    list.layer_norm(name + "post_attention_layernorm", d_model);
    list.add(name + "mlp.fc1.weight", {d_mlp, d_model});
    list.add(name + "mlp.fc1.bias", {d_mlp});
    list.add(name + "mlp.fc2.weight", {d_model, d_mlp});
    list.add(name + "mlp.fc2.bias", {d_model});
    if (is_global) {
        list.add(name + "gate_attn", {1});
        list.add(name + "gate_ffn", {1});
    }
}

void list_vision(List& list, const VisionConfig& config)
{
    const std::string name = "vision_model.";
    const std::int64_t d_model = config.d_model, n_tiles = config.max_tiles, n_patches = config.n_patches();
    const std::int64_t n_ids = 1 + std::ssize(config.aspect_ratios);
    list.add(name + "class_embedding", {d_model});
    list.add(name + "patch_embedding.weight", {d_model, 3, config.patch_size, config.patch_size});
    for (const char* table : {"pre_tile_positional_embedding.", "post_tile_positional_embedding."}) {
        list.add(name + table + "gate", {1});
        list.add(name + table + "embedding.weight", {n_ids, n_tiles * d_model}, d_model);
    }
    const std::string position = name + "gated_positional_embedding.";
    list.add(position + "gate", {1});
    list.add(position + "embedding", {n_patches, d_model});
    list.add(position + "tile_embedding.weight", {n_ids, n_tiles * n_patches * d_model}, n_patches * d_model);
    list.layer_norm(name + "layernorm_pre", d_model);
    list.layer_norm(name + "layernorm_post", d_model);
    for (std::int64_t layer = 0; layer < config.n_layers; ++layer)
        list_vision_layer(list, config, fmt::format("{}transformer.layers.{}.", name, layer), false);
    for (std::int64_t layer = 0; layer < config.n_global_layers; ++layer)
        list_vision_layer(list, config, fmt::format("{}global_transformer.layers.{}.", name, layer), true);
}

void list_text_layer(List& list, const TextConfig& config, const std::string& name, bool is_cross)
{
    const std::int64_t d_model = config.d_model, d_query = config.n_heads * config.d_head,
                       d_key = config.n_kv_heads * config.d_head;
    const std::string attention = name + (is_cross ? "cross_attn." : "self_attn.");
    list.add(name + "input_layernorm.weight", {d_model});
    list.add(attention + "q_proj.weight", {d_query, d_model});
    list.add(attention + "k_proj.weight", {d_key, d_model});
    list.add(attention + "v_proj.weight", {d_key, d_model});
    list.add(attention + "o_proj.weight", {d_model, d_query});
    if (is_cross) {
        list.add(attention + "q_norm.weight", {config.d_head});
        list.add(attention + "k_norm.weight", {config.d_head});
        list.add(name + "cross_attn_attn_gate", {1});
        list.add(name + "cross_attn_mlp_gate", {1});
    }
    list.add(name + "post_attention_layernorm.weight", {d_model});
    list.add(name + "mlp.gate_proj.weight", {config.d_mlp, d_model});
    list.add(name + "mlp.up_proj.weight", {config.d_mlp, d_model});
    list.add(name + "mlp.down_proj.weight", {d_model, config.d_mlp});
}

}  // namespace

Spread spread_of(const std::string& name, const Shape& shape)
{
    if (name.ends_with(".bias"))
        return {0.0f, 1.0f / 16};
    if (contains(name, "norm"))
        return {1.0f, 1.0f / 4};
    if (name.ends_with("gate") || name.ends_with("gate_attn") || name.ends_with("gate_ffn"))
        return {0.5f, 1.0f / 4};
    if (name.ends_with("embed_tokens.weight") || name.ends_with("class_embedding"))
        return {0.0f, 1.0f};
    if (contains(name, "positional_embedding."))
        return {0.0f, 1.0f / 2};
    // A number spread evenly over [-reach, reach) has a variance of reach^2 / 3.
    double n_in = 1;
    for (std::int64_t axis = 1; axis < std::ssize(shape); ++axis)
        n_in *= static_cast<double>(at(shape, axis));
    return {0.0f, static_cast<float>(std::exp2(std::round(0.5 * std::log2(3 / n_in))))};
}

void synthetic_values(const std::string& name, const Spread& spread, std::int64_t first, std::int64_t count,
                      float* values)
{
    const std::uint64_t start = hash_of_name(name);
    for (std::int64_t i = 0; i < count; ++i) {
        const auto index = static_cast<std::uint64_t>(first + i);
        const std::uint64_t bits = mix(start + index * 0x9e3779b97f4a7c15u) >> 40;  // 24 of them
        const float random = static_cast<float>(static_cast<std::int32_t>(bits)) * 0x1p-23f - 1.0f;
        values[i] = spread.mean + spread.reach * random;
    }
}

std::vector<SyntheticParameter> synthetic_parameters(const ModelConfig& config)
{
    List list;
    list_vision(list, config.vision);
    list.add("multi_modal_projector.weight", {config.text.d_model, config.vision.d_output()});
    list.add("multi_modal_projector.bias", {config.text.d_model});
    const std::string text = "language_model.model.";
    list.add(text + "embed_tokens.weight", {config.text.n_vocabulary + 8, config.text.d_model});
    for (std::int64_t layer = 0; layer < config.text.n_layers; ++layer)
        list_text_layer(list, config.text, fmt::format("{}layers.{}.", text, layer),
                        config.text.is_cross_attention_layer(layer));
    list.add(text + "norm.weight", {config.text.d_model});
    list.add("language_model.lm_head.weight", {config.text.n_vocabulary, config.text.d_model});
    return std::move(list.parameters);
}

std::vector<float> synthetic_tile_table(const SyntheticParameter& table, const VisionConfig& config)
{
    const std::int64_t n_tiles = config.max_tiles, width = table.tile_width;
    const Spread spread = spread_of(table.name, table.shape);
    std::vector<float> values(static_cast<std::size_t>(table.shape[0] * table.shape[1]));
    for (std::int64_t id = 1; id < table.shape[0]; ++id) {  // id 0: no image
        const auto [height, columns] = at(config.aspect_ratios, id - 1);
        for (std::int64_t tile = 0; tile < height * columns; ++tile) {
            const std::int64_t place = tile / columns * n_tiles + tile % columns;
            synthetic_values(table.name, spread, place * width, width,
                             values.data() + (id * n_tiles + tile) * width);
        }
    }
    return values;
}

}  // namespace pictor
