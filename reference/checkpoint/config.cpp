#include "reference/checkpoint/config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "reference/checkpoint/config_fields.h"

namespace pictor {

using nlohmann::json;

namespace {

// No real model comes near these; beyond them a field is a mistake, and products of sizes could overflow.
constexpr std::int64_t max_size = std::int64_t{1} << 24;
constexpr std::int64_t max_layers = 1024;
constexpr std::int64_t max_tile_size = 8192;
constexpr std::int64_t max_patches = std::int64_t{1} << 20;
constexpr std::int64_t max_tile_count = 64;

// Newer files keep everything in `rope_parameters`; older ones have `rope_theta` beside `rope_scaling`, whose
// kind is called `rope_type` or, older still, `type`.
RopeConfig read_rope(const ConfigSection& text)
{
    RopeConfig rope;
    const bool is_new = find_field(text, "rope_parameters") != nullptr;
    const bool is_old = find_field(text, "rope_scaling") != nullptr;
    rope.theta = read_number_or(text, "rope_theta", rope.theta, 1.0, 1e12);
    if (!is_new && !is_old)
        return rope;

    const ConfigSection section = read_section(text, is_new ? "rope_parameters" : "rope_scaling");
    rope.theta = read_number_or(section, "rope_theta", rope.theta, 1.0, 1e12);
    const std::string kind_field = find_field(section, "rope_type") == nullptr ? "type" : "rope_type";
    const json* kind = find_field(section, kind_field);
    if (kind != nullptr && *kind != "llama3" && *kind != "default")
        refuse_field(section, kind_field, brief_json(*kind), "\"llama3\" or \"default\"");
    require_value(section, "partial_rotary_factor", 1.0);
    rope.scaled = kind != nullptr && *kind == "llama3";
    if (rope.scaled) {
        rope.factor = read_number(section, "factor", 1.0, 1e6);
        rope.low_freq_factor = read_number(section, "low_freq_factor", 1e-6, 1e6);
        rope.high_freq_factor = read_number(section, "high_freq_factor", 1e-6, 1e6);
        rope.original_length = read_integer(section, "original_max_position_embeddings", 1, max_size);
        if (rope.high_freq_factor <= rope.low_freq_factor)  // the rule divides by their difference
            refuse_field(section, "high_freq_factor", fmt::to_string(rope.high_freq_factor),
                         fmt::format("more than low_freq_factor ({})", rope.low_freq_factor));
    }
    return rope;
}

TextConfig read_text(const ConfigSection& section)
{
    TextConfig text;
    text.n_vocabulary = read_integer(section, "vocab_size", 1, max_size);
    text.d_model = read_integer(section, "hidden_size", 1, max_size);
    text.n_layers = read_integer(section, "num_hidden_layers", 1, max_layers);
    text.n_heads = read_integer(section, "num_attention_heads", 1, max_size);
    text.n_kv_heads = read_integer(section, "num_key_value_heads", 1, max_size);
    text.d_mlp = read_integer(section, "intermediate_size", 1, max_size);
    text.cross_attention_layers = read_layers(section, "cross_attention_layers", text.n_layers);
    text.rms_norm_eps = static_cast<float>(read_number_or(section, "rms_norm_eps", 1e-5, 1e-12, 1.0));
    text.max_positions = read_integer_or(section, "max_position_embeddings", text.max_positions, 1, max_size);
    text.rope = read_rope(section);

    require_multiple(section, "hidden_size", text.d_model, "num_attention_heads", text.n_heads);
    require_multiple(section, "num_attention_heads", text.n_heads, "num_key_value_heads", text.n_kv_heads);
    text.d_head = text.d_model / text.n_heads;
    if (text.d_head % 2 != 0)  // RoPE turns pairs of channels
        refuse_field(section, "hidden_size", fmt::to_string(text.d_model),
                     fmt::format("an even number of channels for each of {} heads", text.n_heads));
    require_value(section, "head_dim", text.d_head);
    require_value(section, "hidden_act", "silu");
    // The embedding table has 8 rows more than the LM head, so the two cannot be one matrix.
    require_value(section, "tie_word_embeddings", false);
    return text;
}

// Grids (h, w) of at most max_tiles tiles; an image's aspect_ratio_id is 1 + the index in this list.
std::vector<std::array<std::int64_t, 2>> all_aspect_ratios(std::int64_t max_tiles)
{
    std::vector<std::array<std::int64_t, 2>> ratios;
    for (std::int64_t h = 1; h <= max_tiles; ++h)
        for (std::int64_t w = 1; h * w <= max_tiles; ++w)
            ratios.push_back({h, w});
    return ratios;
}

// A side in pixels, written as one number or as [side, side].
std::int64_t read_side(const ConfigSection& section, const std::string& field)
{
    const json* value = find_field(section, field);
    if (value == nullptr || !value->is_array())
        return read_integer(section, field, 1, max_tile_size);
    if (value->size() != 2 || (*value)[0] != (*value)[1] ||
        !whole_number_between((*value)[0], 1, max_tile_size))
        refuse_field(section, field, brief_json(*value),
                     fmt::format("one side from 1 to {}, tiles are square", max_tile_size));
    return (*value)[0].get<std::int64_t>();
}

VisionConfig read_vision(const ConfigSection& section)
{
    VisionConfig vision;
    const std::string heads_field = find_field(section, "attention_heads") == nullptr &&
                                            find_field(section, "num_attention_heads") != nullptr
                                        ? "num_attention_heads"
                                        : "attention_heads";
    vision.d_model = read_integer(section, "hidden_size", 1, max_size);
    vision.n_layers = read_integer(section, "num_hidden_layers", 1, max_layers);
    vision.n_global_layers = read_integer(section, "num_global_layers", 0, max_layers);
    vision.n_heads = read_integer(section, heads_field, 1, max_size);
    vision.d_mlp = read_integer(section, "intermediate_size", 1, max_size);
    vision.tile_size = read_side(section, "image_size");
    vision.patch_size = read_side(section, "patch_size");
    vision.max_tiles = read_integer_or(section, "max_num_tiles", 4, 1, max_tile_count);
    vision.kept_layers = read_layers(section, "intermediate_layers_indices", vision.n_layers);
    vision.layer_norm_eps = static_cast<float>(read_number_or(section, "norm_eps", 1e-5, 1e-12, 1.0));

    require_multiple(section, "hidden_size", vision.d_model, heads_field, vision.n_heads);
    require_multiple(section, "image_size", vision.tile_size, "patch_size", vision.patch_size);
    vision.d_head = vision.d_model / vision.n_heads;
    if (vision.n_patches() > max_patches)
        refuse_field(section, "image_size",
                     fmt::format("{} with patches of {}", vision.tile_size, vision.patch_size),
                     fmt::format("at most {} patches", max_patches));
    if (vision.kept_layers.empty())
        refuse_field(section, "intermediate_layers_indices", "[]", "at least one layer");
    const std::int64_t d_output = read_integer(section, "vision_output_dim", 1, max_size);
    if (d_output != vision.d_output())
        refuse_field(section, "vision_output_dim", fmt::to_string(d_output),
                     fmt::format("{}: hidden_size {} x (1 final + {} kept states)", vision.d_output(),
                                 vision.d_model, vision.kept_layers.size()));

    vision.aspect_ratios = all_aspect_ratios(vision.max_tiles);
    const json* ratios = find_field(section, "supported_aspect_ratios");
    if (ratios != nullptr && *ratios != json(vision.aspect_ratios)) {
        std::string list;
        for (const auto& [h, w] : vision.aspect_ratios)
            list += fmt::format("{}[{}, {}]", list.empty() ? "" : ", ", h, w);
        refuse_field(section, "supported_aspect_ratios",
                     ratios->is_array() ? "another list" : brief_json(*ratios),
                     fmt::format("the grids of at most {} tiles: [{}]", vision.max_tiles, list));
    }
    require_value(section, "num_channels", 3);
    require_value(section, "hidden_act", "gelu");  // exact, with erf
    return vision;
}

// The preprocessor's fields stand in a file of their own or, as newer releases write them, inside
// processor_config.json.
ImageConfig read_image_config(const std::filesystem::path& folder, const VisionConfig& vision)
{
    ImageConfig image;
    image.tile_size = vision.tile_size;
    image.max_tiles = vision.max_tiles;

    std::filesystem::path path = folder / "preprocessor_config.json";
    json file;
    if (std::filesystem::exists(path)) {
        file = read_json_object(path);
    } else if (path = folder / "processor_config.json"; std::filesystem::exists(path)) {
        file = read_json_object(path);
        file = read_section({path.string(), "", file}, "image_processor").fields;
    } else {
        image.mean = {0.48145466, 0.4578275, 0.40821073};  // CLIP's, which the released models use
        image.std = {0.26862954, 0.26130258, 0.27577711};
        return image;
    }

    const ConfigSection section{path.string(), "", file};
    image.mean = read_colours(section, "image_mean", -1e3, 1e3);
    image.std = read_colours(section, "image_std", 1e-6, 1e6);
    image.rescale_factor = read_number_or(section, "rescale_factor", image.rescale_factor, 1e-9, 1e3);
    const ConfigSection size = read_section(section, "size");
    for (const char* side : {"height", "width"})
        if (read_integer(size, side, 1, max_tile_size) != vision.tile_size)
            refuse_field(size, side, brief_json(*find_field(size, side)),
                         fmt::format("{}, the image_size of config.json", vision.tile_size));
    if (read_integer_or(section, "max_image_tiles", vision.max_tiles, 1, max_tile_count) != vision.max_tiles)
        refuse_field(section, "max_image_tiles", brief_json(*find_field(section, "max_image_tiles")),
                     fmt::format("{}, the max_num_tiles of config.json", vision.max_tiles));
    for (const char* step : {"do_convert_rgb", "do_resize", "do_pad", "do_rescale", "do_normalize"})
        require_value(section, step, true);
    require_value(section, "resample", 2);  // PIL's BILINEAR
    return image;
}

// generation_config.json decides where answers end, when it says so; config.json otherwise.
void read_tokens(const std::filesystem::path& folder, const ConfigSection& text, ModelConfig& config)
{
    const std::filesystem::path path = folder / "generation_config.json";
    const json generation_file = std::filesystem::exists(path) ? read_json_object(path) : json::object();
    const ConfigSection generation{path.string(), "", generation_file};
    const std::int64_t last = config.text.n_vocabulary - 1;

    const bool bos_only_there =
        find_field(text, "bos_token_id") == nullptr && find_field(generation, "bos_token_id") != nullptr;
    config.bos_token = read_integer(bos_only_there ? generation : text, "bos_token_id", 0, last);

    const ConfigSection& eos = find_field(generation, "eos_token_id") == nullptr ? text : generation;
    const std::string wanted = fmt::format("a token id from 0 to {}, or a list of them", last);
    const json& value = require_field(eos, "eos_token_id", wanted);
    const json list = value.is_array() ? value : json::array({value});
    for (const json& item : list) {
        if (!whole_number_between(item, 0, last))
            refuse_field(eos, "eos_token_id", brief_json(value), wanted);
        config.end_tokens.push_back(item.get<std::int64_t>());
    }
    if (config.end_tokens.empty())
        refuse_field(eos, "eos_token_id", "[]", wanted);
    config.trained_turns = read_integer_or(generation, "trained_turns", 0, 0, 1'000'000);
}

// The double that prints as the float does: 1e-05, not 9.999999747378752e-06.
double shortest(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace

bool TextConfig::is_cross_attention_layer(std::int64_t layer) const
{
    return std::find(cross_attention_layers.begin(), cross_attention_layers.end(), layer) !=
           cross_attention_layers.end();
}

ModelConfig read_config(const std::filesystem::path& folder)
{
    const std::filesystem::path path = folder / "config.json";
    const json file = read_json_object(path);
    const ConfigSection top{path.string(), "", file};
    require_value(top, "model_type", "mllama");
    if (find_field(top, "quantization_config") != nullptr)
        refuse_field(top, "quantization_config", "present", "none: weights in F32, BF16 or F16");

    ModelConfig config;
    const ConfigSection text = read_section(top, "text_config");
    config.text = read_text(text);
    config.vision = read_vision(read_section(top, "vision_config"));
    config.image = read_image_config(folder, config.vision);
    const std::string image_field =
        find_field(top, "image_token_index") == nullptr && find_field(top, "image_token_id") != nullptr
            ? "image_token_id"
            : "image_token_index";
    // Saved files leave the field out when it has the released models' value.
    config.image_token = read_integer_or(top, image_field, 128256, 0, config.text.n_vocabulary + 7);
    if (config.image_token >= config.text.n_vocabulary + 8)
        refuse_field(top, image_field, "missing",
                     fmt::format("a row of the embedding table, at most {}", config.text.n_vocabulary + 7));
    read_tokens(folder, text, config);
    return config;
}

json describe_config(const ModelConfig& config)
{
    const TextConfig& text = config.text;
    const VisionConfig& vision = config.vision;
    json rope = {{"theta", text.rope.theta}, {"scaled", text.rope.scaled}};
    if (text.rope.scaled) {
        rope["factor"] = text.rope.factor;
        rope["low_freq_factor"] = text.rope.low_freq_factor;
        rope["high_freq_factor"] = text.rope.high_freq_factor;
        rope["original_length"] = text.rope.original_length;
    }
    return {
        {"text",
         {{"n_vocabulary", text.n_vocabulary},
          {"d_model", text.d_model},
          {"n_layers", text.n_layers},
          {"n_heads", text.n_heads},
          {"n_kv_heads", text.n_kv_heads},
          {"d_head", text.d_head},
          {"d_mlp", text.d_mlp},
          {"cross_attention_layers", text.cross_attention_layers},
          {"rms_norm_eps", shortest(text.rms_norm_eps)},
          {"rope", rope},
          {"max_positions", text.max_positions}}},
        {"vision",
         {{"d_model", vision.d_model},
          {"n_layers", vision.n_layers},
          {"n_global_layers", vision.n_global_layers},
          {"n_heads", vision.n_heads},
          {"d_head", vision.d_head},
          {"d_mlp", vision.d_mlp},
          {"tile_size", vision.tile_size},
          {"patch_size", vision.patch_size},
          {"max_tiles", vision.max_tiles},
          {"patches_per_side", vision.patches_per_side()},
          {"n_patches", vision.n_patches()},
          {"n_padded_patches", vision.n_padded_patches()},
          {"kept_layers", vision.kept_layers},
          {"d_output", vision.d_output()},
          {"aspect_ratios", vision.aspect_ratios},
          {"layer_norm_eps", shortest(vision.layer_norm_eps)}}},
        {"picture",
         {{"mean", config.image.mean},
          {"std", config.image.std},
          {"rescale_factor", config.image.rescale_factor},
          {"tile_size", config.image.tile_size},
          {"max_tiles", config.image.max_tiles}}},
        {"image_token", config.image_token},
    };
}

}  // namespace pictor
