#include "viz/graphs/model_sizes.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"

namespace pictor {
namespace {

// Reads fields of one part of the config; every complaint names file and field.
struct Section {
    const nlohmann::json& object;
    std::string where;

    std::int64_t number(const char* key, std::int64_t most = 10000000) const
    {
        const auto found = object.find(key);
        if (found == object.end() || !found->is_number_integer() || *found < 1 || *found > most)
            throw std::runtime_error(
                fmt::format("{}.{}: {}; a whole number from 1 to {} would be right", where, key,
                            found == object.end() ? "missing" : brief_json(*found), most));
        return found->get<std::int64_t>();
    }

    // Ascending indices below `end`.
    std::vector<std::int64_t> indices(const char* key, std::int64_t end) const
    {
        const auto found = object.find(key);
        const auto refuse = [&] {
            throw std::runtime_error(
                fmt::format("{}.{}: {}; an ascending list of whole numbers from 0 to {} would be right",
                            where, key, found == object.end() ? "missing" : brief_json(*found), end - 1));
        };
        if (found == object.end() || !found->is_array())
            refuse();
        std::vector<std::int64_t> result;
        for (const auto& item : *found) {
            if (!item.is_number_integer() || item < 0 || item >= end ||
                (!result.empty() && item <= result.back()))
                refuse();
            result.push_back(item.get<std::int64_t>());
        }
        return result;
    }
};

Section section(const nlohmann::json& config, const char* key, const std::string& file)
{
    const auto found = config.find(key);
    if (found == config.end() || !found->is_object())
        throw std::runtime_error(
            fmt::format("{}: {} is missing; the config of an mllama model would be right", file, key));
    return {*found, file + ": " + key};
}

}  // namespace

bool ModelSizes::is_cross(std::int64_t layer) const
{
    return std::binary_search(cross_layers.begin(), cross_layers.end(), layer);
}

ModelSizes read_model_sizes(const std::filesystem::path& config_file, const std::string& name)
{
    const nlohmann::json config = read_json_object(config_file, "the config.json of a checkpoint");
    ModelSizes sizes;
    sizes.name = name;
    const Section text = section(config, "text_config", config_file.string());
    sizes.d_text = text.number("hidden_size", 1000000);
    sizes.n_text_layers = text.number("num_hidden_layers", 1000);
    sizes.n_heads = text.number("num_attention_heads", 4096);
    sizes.n_kv_heads = text.number("num_key_value_heads", sizes.n_heads);
    sizes.d_head = text.object.contains("head_dim") && text.object["head_dim"].is_number_integer()
                       ? text.number("head_dim")
                       : sizes.d_text / sizes.n_heads;
    sizes.d_text_mlp = text.number("intermediate_size");
    sizes.n_vocabulary = text.number("vocab_size");
    sizes.cross_layers = text.indices("cross_attention_layers", sizes.n_text_layers);
    const Section vision = section(config, "vision_config", config_file.string());
    sizes.d_vision = vision.number("hidden_size", 1000000);
    sizes.n_local_layers = vision.number("num_hidden_layers", 1000);
    sizes.n_global_layers = vision.number("num_global_layers", 1000);
    sizes.n_vision_heads = vision.number(
        vision.object.contains("attention_heads") ? "attention_heads" : "num_attention_heads", 4096);
    sizes.d_vision_mlp = vision.number("intermediate_size");
    sizes.tile_size = vision.number("image_size", 16384);
    sizes.patch_size = vision.number("patch_size", sizes.tile_size);
    sizes.max_tiles = vision.number("max_num_tiles", 64);
    sizes.kept_layers = vision.indices("intermediate_layers_indices", sizes.n_local_layers);
    const auto ratios = vision.object.find("supported_aspect_ratios");
    constexpr std::size_t most_ratios = 64;  // with the other bounds, no count of parameters outgrows 64 bits
    if (ratios != vision.object.end() && ratios->size() > most_ratios)
        throw std::runtime_error(
            fmt::format("{}.supported_aspect_ratios: {} of them; at most {} would be right", vision.where,
                        ratios->size(), most_ratios));
    sizes.n_aspect_ratios =
        ratios != vision.object.end() && ratios->is_array() ? static_cast<std::int64_t>(ratios->size()) : 8;
    return sizes;
}

ModelSizes preset_sizes(const std::string& preset)
{
    ModelSizes sizes;
    sizes.n_kv_heads = 8;
    sizes.d_head = 128;
    sizes.n_vocabulary = 128256;
    sizes.d_vision = 1280;
    sizes.n_local_layers = 32;
    sizes.n_global_layers = 8;
    sizes.n_vision_heads = 16;
    sizes.d_vision_mlp = 5120;
    sizes.tile_size = 560;
    sizes.patch_size = 14;
    sizes.max_tiles = 4;
    sizes.n_aspect_ratios = 8;
    sizes.kept_layers = {3, 7, 15, 23, 30};
    if (preset == "11b") {
        sizes.name = "Llama 3.2-Vision 11B";
        sizes.d_text = 4096;
        sizes.n_text_layers = 40;
        sizes.n_heads = 32;
        sizes.d_text_mlp = 14336;
    } else if (preset == "90b") {
        sizes.name = "Llama 3.2-Vision 90B";
        sizes.d_text = 8192;
        sizes.n_text_layers = 100;
        sizes.n_heads = 64;
        sizes.d_text_mlp = 28672;
    } else {
        throw std::runtime_error(fmt::format("--preset {}: 11b or 90b would be right", preset));
    }
    for (std::int64_t layer = 3; layer < sizes.n_text_layers; layer += 5)
        sizes.cross_layers.push_back(layer);
    return sizes;
}

ParameterCounts count_parameters(const ModelSizes& s)
{
    ParameterCounts c;
    const std::int64_t ids = s.n_aspect_ratios + 1;  // aspect ratio id 0: no picture
    c.patch_embedding = s.d_vision * 3 * s.patch_size * s.patch_size;
    c.pre_tile = c.post_tile = ids * s.max_tiles * s.d_vision + 1;
    c.positions = s.d_vision + s.n_patches() * s.d_vision + ids * s.max_tiles * s.n_patches() * s.d_vision +
                  1;  // class token with them
    c.vision_norms = 4 * s.d_vision;
    c.local_layer = 4 * s.d_vision * s.d_vision + 2 * s.d_vision * s.d_vision_mlp + s.d_vision_mlp +
                    s.d_vision + 4 * s.d_vision;
    c.global_layer = c.local_layer + 2;
    c.projector = s.d_vision_output() * s.d_text + s.d_text;
    c.vision = c.patch_embedding + c.pre_tile + c.post_tile + c.positions + c.vision_norms +
               s.n_local_layers * c.local_layer + s.n_global_layers * c.global_layer + c.projector;
    c.embedding_table = (s.n_vocabulary + 8) * s.d_text;
    c.self_layer = 2 * s.d_text * s.n_heads * s.d_head + 2 * s.d_text * s.n_kv_heads * s.d_head +
                   3 * s.d_text * s.d_text_mlp + 2 * s.d_text;
    c.cross_layer = c.self_layer + 2 * s.d_head + 2;  // q_norm, k_norm, two gates
    c.final_norm = s.d_text;
    c.lm_head = s.n_vocabulary * s.d_text;
    const auto n_cross = static_cast<std::int64_t>(s.cross_layers.size());
    c.text = c.embedding_table + (s.n_text_layers - n_cross) * c.self_layer + n_cross * c.cross_layer +
             c.final_norm + c.lm_head;
    c.total = c.vision + c.text;
    return c;
}

std::string count_text(std::int64_t parameters)
{
    const auto value = static_cast<double>(parameters);
    if (parameters < 1000)
        return fmt::format("{}", parameters);
    const auto [scaled, unit] = value < 999500    ? std::pair{value / 1e3, "K"}
                                : value < 999.5e6 ? std::pair{value / 1e6, "M"}
                                                  : std::pair{value / 1e9, "B"};
    return scaled < 9.95   ? fmt::format("{:.2f} {}", scaled, unit)
           : scaled < 99.5 ? fmt::format("{:.1f} {}", scaled, unit)
                           : fmt::format("{:.0f} {}", scaled, unit);
}

}  // namespace pictor
