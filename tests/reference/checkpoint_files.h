// Files that the tests of reference/checkpoint/ write themselves: a tiny model, and safetensors byte by byte,
// so that every fault a file can have can be made on purpose.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace pictor_test {

// A folder of its own under the system's temporary folder, removed at the end.
struct TempFolder {
    std::filesystem::path path;

    TempFolder()
    {
        path = std::filesystem::temp_directory_path() /
               fmt::format("pictor-test-{:08x}{:08x}", std::random_device{}(), std::random_device{}());
        std::filesystem::create_directories(path);
    }
    ~TempFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TempFolder(const TempFolder&) = delete;
};

inline void write_file(const std::filesystem::path& path, const std::string& bytes)
{
    std::ofstream(path, std::ios::binary) << bytes;
}

inline nlohmann::json read_json(const std::filesystem::path& path)
{
    std::ifstream file(path);
    return nlohmann::json::parse(file);
}

// The message of the exception that `action` throws; empty when it throws none.
template <typename Action> std::string error_of(Action action)
{
    try {
        action();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

// A whole file from a header text and the bytes behind it.
inline std::string safetensors_bytes(const std::string& header, const std::string& data)
{
    const std::uint64_t length = header.size();
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes + header + data;
}

struct RawTensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
};
using RawTensors = std::map<std::string, RawTensor>;

// odd: the tensors begin at an odd address of the file, so that no F32 or BF16 is aligned.
inline std::string safetensors_bytes(const RawTensors& tensors, bool odd = false)
{
    nlohmann::json header = nlohmann::json::object();
    std::string data;
    for (const auto& [name, tensor] : tensors) {
        header[name] = {{"dtype", tensor.dtype},
                        {"shape", tensor.shape},
                        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
        data += tensor.bytes;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8 + (odd ? 1 : 0), ' ');
    return safetensors_bytes(text, data);
}

template <typename Number> std::string bytes_of(const std::vector<Number>& numbers)
{
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(Number)};
}

inline RawTensor f32(std::vector<std::int64_t> shape, const std::vector<float>& values)
{
    return {"F32", std::move(shape), bytes_of(values)};
}

// config.json of a model of a few thousand numbers; all sizes differ that may.
inline nlohmann::json tiny_config()
{
    return nlohmann::json::parse(R"({
        "model_type": "mllama", "image_token_index": 20,
        "text_config": {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 24, "cross_attention_layers": [1],
              "hidden_act": "silu",
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 64, "bos_token_id": 1,
            "eos_token_id": 2, "tie_word_embeddings": false,
            "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}},
        "vision_config": {"hidden_size": 12, "num_hidden_layers": 2, "num_global_layers": 1,
          "attention_heads": 3,
            "intermediate_size": 10, "image_size": 8, "patch_size": 4, "max_num_tiles": 2, "num_channels": 3,
            "intermediate_layers_indices": [0], "vision_output_dim": 24, "hidden_act": "gelu",
              "norm_eps": 1e-5,
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}})");
}

// Every parameter of tiny_config under the hub's names, with numbers that no other parameter has.
struct TinyTensors {
    RawTensors tensors;
    float next = 0;

    void add(const std::string& name, std::vector<std::int64_t> shape)
    {
        std::int64_t count = 1;
        for (const std::int64_t extent : shape)
            count *= extent;
        std::vector<float> values;
        for (std::int64_t i = 0; i < count; ++i)
            values.push_back((next += 1) / 1024);
        tensors[name] = f32(std::move(shape), values);
    }
    void add_norm(const std::string& name)
    {
        add(name + ".weight", {12});
        add(name + ".bias", {12});
    }
    void add_vision();
    void add_vision_layer(const std::string& name, bool is_global);
    void add_text_layer(const std::string& name, bool is_cross);
};

inline void TinyTensors::add_vision()
{
    add("vision_model.patch_embedding.weight", {12, 3, 4, 4});
    add("vision_model.class_embedding", {12});
    for (const std::string side : {"pre", "post"}) {
        add("vision_model." + side + "_tile_positional_embedding.gate", {1});
        add("vision_model." + side + "_tile_positional_embedding.embedding.weight", {4, 2 * 12});
        add_norm("vision_model.layernorm_" + side);
    }
    add("vision_model.gated_positional_embedding.gate", {1});
    add("vision_model.gated_positional_embedding.embedding", {5, 12});
    add("vision_model.gated_positional_embedding.tile_embedding.weight", {4, 2 * 5 * 12});
    for (const std::string layer :
         {"transformer.layers.0", "transformer.layers.1", "global_transformer.layers.0"})
        add_vision_layer("vision_model." + layer, layer.starts_with("global"));
}

inline void TinyTensors::add_vision_layer(const std::string& name, bool is_global)
{
    add_norm(name + ".input_layernorm");
    add_norm(name + ".post_attention_layernorm");
    for (const std::string projection : {"q_proj", "k_proj", "v_proj", "o_proj"})
        add(name + ".self_attn." + projection + ".weight", {12, 12});
    add(name + ".mlp.fc1.weight", {10, 12});
    add(name + ".mlp.fc1.bias", {10});
    add(name + ".mlp.fc2.weight", {12, 10});
    add(name + ".mlp.fc2.bias", {12});
    if (is_global) {
        add(name + ".gate_attn", {1});
        add(name + ".gate_ffn", {1});
    }
}

inline void TinyTensors::add_text_layer(const std::string& name, bool is_cross)
{
    const std::string attention = name + (is_cross ? "cross_attn." : "self_attn.");
    add(name + "input_layernorm.weight", {16});
    add(name + "post_attention_layernorm.weight", {16});
    add(attention + "q_proj.weight", {16, 16});
    add(attention + "k_proj.weight", {8, 16});
    add(attention + "v_proj.weight", {8, 16});
    add(attention + "o_proj.weight", {16, 16});
    if (is_cross) {
        add(attention + "q_norm.weight", {4});
        add(attention + "k_norm.weight", {4});
        add(name + "cross_attn_attn_gate", {1});
        add(name + "cross_attn_mlp_gate", {1});
    }
    add(name + "mlp.gate_proj.weight", {24, 16});
    add(name + "mlp.up_proj.weight", {24, 16});
    add(name + "mlp.down_proj.weight", {16, 24});
}

inline RawTensors tiny_tensors()
{
    TinyTensors tiny;
    tiny.add_vision();
    tiny.add("multi_modal_projector.weight", {16, 24});
    tiny.add("multi_modal_projector.bias", {16});
    tiny.add("language_model.model.embed_tokens.weight", {28, 16});
    for (const int layer : {0, 1, 2})
        tiny.add_text_layer(fmt::format("language_model.model.layers.{}.", layer), layer == 1);
    tiny.add("language_model.model.norm.weight", {16});
    tiny.add("language_model.lm_head.weight", {20, 16});
    return tiny.tensors;
}

}  // namespace pictor_test
