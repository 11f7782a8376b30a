#include "reference/checkpoint/synthesize.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/memory_map.h"
#include "base/output_file.h"
#include "base/output_folder.h"
#include "base/safetensors_writer.h"
#include "base/small_floats.h"
#include "reference/checkpoint/config.h"
#include "reference/checkpoint/synthetic_values.h"

namespace fs = std::filesystem;

namespace pictor {

using nlohmann::json;

namespace {

constexpr std::uint64_t most_bytes_of_a_shard = 5'000'000'000;
constexpr const char* mark = "synthesized_by_pictor";  // in config.json: --force replaces only such folders

bool is_part(const fs::path& folder, const std::string& file)
{
    if (file == "config.json") {
        const std::uintmax_t small = 1 << 20;
        std::error_code error;
        if (fs::file_size(folder / file, error) > small || error)
            return false;
        const MappedFile config(folder / file);
        return config.text().find(mark) != std::string_view::npos;
    }
    static const std::vector<std::string> names{
        "generation_config.json",      "preprocessor_config.json", "tokenizer.json",
        "tokenizer_config.json",       "chat_template.jinja",      "special_tokens_map.json",
        "model.safetensors.index.json"};
    return std::find(names.begin(), names.end(), file) != names.end() ||
           (file.starts_with("model-") && file.ends_with(".safetensors"));
}

// The released model's cross-attention layers are 3, 8, 13, ...; with other counts they are spread the same
// way: after every few self layers one cross layer, and the first layer is a self layer.
std::vector<std::int64_t> cross_layers(std::int64_t n_self, std::int64_t n_cross)
{
    std::vector<std::int64_t> layers;
    if (n_self == 4 * n_cross) {
        for (std::int64_t index = 0; index < n_cross; ++index)
            layers.push_back(3 + 5 * index);
        return layers;
    }
    for (std::int64_t index = 0; index < n_cross; ++index)
        layers.push_back(std::max<std::int64_t>(1, (index + 1) * n_self / n_cross) + index);
    return layers;
}

// 3, 7, 15, 23 and 30 of 32 layers; of fewer, those that there are, and at least the first.
std::vector<std::int64_t> kept_layers(std::int64_t n_local)
{
    std::vector<std::int64_t> kept;
    for (const std::int64_t layer : {3, 7, 15, 23, 30})
        if (layer < n_local)
            kept.push_back(layer);
    return kept.empty() ? std::vector<std::int64_t>{0} : kept;
}

json make_config(const SynthesizeOptions& options, const ModelConfig& tokenizer_model)
{
    const bool small = options.preset == "11b";
    const std::vector<std::int64_t> preset_layers =
        small ? std::vector<std::int64_t>{32, 8, 32, 8} : std::vector<std::int64_t>{80, 20, 32, 8};
    const std::vector<std::int64_t>& layers = options.layers.empty() ? preset_layers : options.layers;
    const std::int64_t vocabulary = options.vocabulary == 0 ? 128256 : options.vocabulary;
    if (vocabulary < tokenizer_model.text.n_vocabulary)
        throw std::runtime_error(fmt::format("--vocabulary {}: the tokenizer in {} has {} tokens; want at "
                                             "least as many",
                                             vocabulary, options.tokenizer_folder.string(),
                                             tokenizer_model.text.n_vocabulary));
    const std::vector<std::int64_t> kept = kept_layers(layers[2]);
    json ratios = json::array();
    for (int height = 1; height <= 4; ++height)
        for (int width = 1; height * width <= 4; ++width)
            ratios.push_back({height, width});
    const json text{{"model_type", "mllama_text_model"},
                    {"vocab_size", vocabulary},
                    {"hidden_size", small ? 4096 : 8192},
                    {"num_hidden_layers", layers[0] + layers[1]},
                    {"num_attention_heads", small ? 32 : 64},
                    {"num_key_value_heads", 8},
                    {"intermediate_size", small ? 14336 : 28672},
                    {"cross_attention_layers", cross_layers(layers[0], layers[1])},
                    {"hidden_act", "silu"},
                    {"rms_norm_eps", 1e-5},
                    {"rope_theta", 500000.0},
                    {"rope_scaling",
                     {{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 8192}}},
                    {"max_position_embeddings", 131072},
                    {"bos_token_id", tokenizer_model.bos_token},
                    {"eos_token_id", tokenizer_model.end_tokens},
                    {"pad_token_id", tokenizer_model.bos_token},
                    {"tie_word_embeddings", false}};
    const json vision{{"model_type", "mllama_vision_model"},
                      {"hidden_size", 1280},
                      {"num_hidden_layers", layers[2]},
                      {"num_global_layers", layers[3]},
                      {"attention_heads", 16},
                      {"intermediate_size", 5120},
                      {"image_size", 560},
                      {"patch_size", 14},
                      {"num_channels", 3},
                      {"max_num_tiles", 4},
                      {"intermediate_layers_indices", kept},
                      {"vision_output_dim", 1280 * (1 + std::ssize(kept))},
                      {"supported_aspect_ratios", ratios},
                      {"hidden_act", "gelu"},
                      {"norm_eps", 1e-5}};
    return {{"architectures", {"MllamaForConditionalGeneration"}},
            {"model_type", "mllama"},
            {mark, options.preset},
            {"torch_dtype", options.f32 ? "float32" : "bfloat16"},
            {"image_token_index", vocabulary},
            {"text_config", text},
            {"vision_config", vision}};
}

void write_json(const fs::path& file, const json& value)
{
    write_whole_file(file, value.dump(2) + "\n", Overwrite::new_file);
}

void write_small_files(const SynthesizeOptions& options, const ModelConfig& tokenizer_model,
                       const fs::path& folder)
{
    write_json(folder / "config.json", make_config(options, tokenizer_model));
    write_json(folder / "generation_config.json",
               {{"bos_token_id", tokenizer_model.bos_token}, {"eos_token_id", tokenizer_model.end_tokens}});
    write_json(folder / "preprocessor_config.json", {{"image_processor_type", "MllamaImageProcessor"},
                                                     {"do_convert_rgb", true},
                                                     {"do_resize", true},
                                                     {"do_rescale", true},
                                                     {"do_normalize", true},
                                                     {"do_pad", true},
                                                     {"resample", 2},
                                                     {"rescale_factor", 1.0 / 255},
                                                     {"image_mean", {0.48145466, 0.4578275, 0.40821073}},
                                                     {"image_std", {0.26862954, 0.26130258, 0.27577711}},
                                                     {"max_image_tiles", 4},
                                                     {"size", {{"height", 560}, {"width", 560}}}});
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"})
        if (fs::exists(options.tokenizer_folder / name))
            fs::copy_file(options.tokenizer_folder / name, folder / name);
}

std::uint64_t bytes_of(const SyntheticParameter& parameter, bool f32)
{
    return static_cast<std::uint64_t>(checked_size(parameter.name, parameter.shape)) * (f32 ? 4 : 2);
}

std::vector<std::vector<SyntheticParameter>> split_into_shards(
    const std::vector<SyntheticParameter>& parameters, bool f32)
{
    std::vector<std::vector<SyntheticParameter>> shards(1);
    std::uint64_t bytes = 0;
    for (const SyntheticParameter& parameter : parameters) {
        bytes += bytes_of(parameter, f32);
        if (bytes > most_bytes_of_a_shard && !shards.back().empty()) {
            shards.emplace_back();
            bytes = bytes_of(parameter, f32);
        }
        shards.back().push_back(parameter);
    }
    return shards;
}

void write_values(SafetensorsWriter& file, const std::vector<float>& values, std::int64_t count, bool f32,
                  std::vector<std::uint16_t>& rounded)
{
    if (f32)
        return file.append(values.data(), count);
    rounded.resize(values.size());
#pragma omp parallel for
    for (std::int64_t i = 0; i < count; ++i)
        rounded.data()[i] = bf16_from_float(values.data()[i]);
    file.append(rounded.data(), count);
}

// A block at a time, so that no tensor is ever in memory whole.
void write_parameter(SafetensorsWriter& file, const SyntheticParameter& parameter, bool f32)
{
    constexpr std::int64_t block = 1 << 22, piece = 1 << 14;
    const std::int64_t size = checked_size(parameter.name, parameter.shape);
    const Spread spread = spread_of(parameter.name, parameter.shape);
    std::vector<float> values(static_cast<std::size_t>(std::min(size, block)));
    std::vector<std::uint16_t> rounded;
    for (std::int64_t first = 0; first < size; first += block) {
        const std::int64_t count = std::min(block, size - first);
#pragma omp parallel for
        for (std::int64_t start = 0; start < count; start += piece)
            synthetic_values(parameter.name, spread, first + start, std::min(piece, count - start),
                             values.data() + start);
        write_values(file, values, count, f32, rounded);
    }
}

void require_room(const fs::path& folder, const fs::path& wanted_name, std::uint64_t bytes)
{
    const std::uint64_t free = fs::space(folder).available;
    if (free < bytes)
        throw std::runtime_error(fmt::format(
            "{}: the checkpoint needs {:.2f} GB, {:.2f} GB of the disk are free", wanted_name.string(),
            static_cast<double>(bytes) / 1e9, static_cast<double>(free) / 1e9));
}

}  // namespace

void synthesize(const SynthesizeOptions& options, const std::function<void(double)>& on_share_done)
{
    const ModelConfig tokenizer_model = read_config(options.tokenizer_folder);
    OutputFolder folder(options.folder, {"synthesized checkpoint", "config.json", is_part}, options.force);
    write_small_files(options, tokenizer_model, folder.path());
    const ModelConfig config = read_config(folder.path());
    const std::vector<SyntheticParameter> parameters = synthetic_parameters(config);
    std::uint64_t bytes = 0, done = 0;
    for (const SyntheticParameter& parameter : parameters)
        bytes += bytes_of(parameter, options.f32);
    require_room(folder.path(), options.folder, bytes);

    const auto shards = split_into_shards(parameters, options.f32);
    json weight_map;
    for (std::size_t number = 0; number < shards.size(); ++number) {
        const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", number + 1, shards.size());
        std::vector<TensorHead> heads;
        for (const SyntheticParameter& parameter : shards[number]) {
            heads.push_back({parameter.name, false, parameter.shape, !options.f32});
            weight_map[parameter.name] = name;
        }
        SafetensorsWriter file(folder.path() / name, heads, {{"format", "pt"}}, Overwrite::new_file);
        for (const SyntheticParameter& parameter : shards[number]) {
            if (parameter.tile_width > 0) {
                const std::vector<float> table = synthetic_tile_table(parameter, config.vision);
                std::vector<std::uint16_t> rounded;
                write_values(file, table, std::ssize(table), options.f32, rounded);
            } else {
                write_parameter(file, parameter, options.f32);
            }
            done += bytes_of(parameter, options.f32);
            on_share_done(static_cast<double>(done) / static_cast<double>(bytes));
        }
        file.finish();
    }
    write_json(folder.path() / "model.safetensors.index.json",
               {{"metadata", {{"total_size", bytes}}}, {"weight_map", weight_map}});
    folder.move_into_place();
}

}  // namespace pictor
