#include "reference/checkpoint/inspect.h"

#include <cstdint>
#include <map>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/safetensors.h"
#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"

namespace pictor {

using nlohmann::json;

namespace {

std::string part_of(const std::string& name)
{
    if (name.find("vision_model.") != std::string::npos)
        return "vision";
    if (name.find("multi_modal_projector.") != std::string::npos)
        return "projector";
    if (name.ends_with("embed_tokens.weight") || name.ends_with("lm_head.weight"))
        return "embeddings";
    return "text";
}

// "1.5 MB"; the unit grows with the number.
std::string bytes_text(std::uint64_t bytes)
{
    if (bytes < 10'000)
        return fmt::format("{} bytes", bytes);
    if (bytes < 10'000'000)
        return fmt::format("{:.1f} kB", static_cast<double>(bytes) / 1e3);
    if (bytes < 10'000'000'000)
        return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
    return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9);
}

json count_parameters(const FoundWeights& found)
{
    std::map<std::string, std::int64_t> parts{
        {"vision", 0}, {"projector", 0}, {"text", 0}, {"embeddings", 0}};
    std::int64_t total = 0;
    for (const TensorInfo* info : found.used) {
        parts[part_of(info->name)] += info->count;
        total += info->count;
    }
    json parameters = parts;
    parameters["total"] = total;
    return parameters;
}

json count_memory(const FoundWeights& found, const ModelConfig& config)
{
    std::map<std::string, std::uint64_t> bytes_of_dtype;
    for (const TensorInfo* info : found.used)
        bytes_of_dtype[info->dtype] += info->bytes;
    std::uint64_t file_bytes = 0;
    for (const auto& file : found.weights.files)
        file_bytes += file->size();

    const TextConfig& text = config.text;
    const auto n_cross = static_cast<std::int64_t>(text.cross_attention_layers.size());
    const std::int64_t d_key = text.n_kv_heads * text.d_head;
    const std::int64_t bytes_per_key =
        2 * d_key * static_cast<std::int64_t>(sizeof(float));  // key and value, one layer
    return {
        {"weight_bytes", bytes_of_dtype},
        {"file_bytes", file_bytes},
        {"kv_cache_bytes_per_token", (text.n_layers - n_cross) * bytes_per_key},
        {"image_cache_bytes", n_cross * config.vision.max_tiles * config.vision.n_patches() * bytes_per_key}};
}

std::string list_text(const json& inspection, const char* what)
{
    const json& items = inspection.at(what);
    std::string text =
        fmt::format("{:<12} {}\n", what, items.empty() ? "none" : fmt::format("{} tensors", items.size()));
    for (const json& item : items)
        text += "  " + item.get<std::string>() + "\n";
    return text;
}

}  // namespace

json inspect_checkpoint(const std::filesystem::path& folder)
{
    const ModelConfig config = read_config(folder);
    const FoundWeights found = find_weights(folder, config);
    json model = describe_config(config);
    model["end_tokens"] = config.end_tokens;
    return {{"folder", folder.string()},
            {"model", model},
            {"parameters", count_parameters(found)},
            {"memory", count_memory(found, config)},
            {"missing", found.missing},
            {"wrong", found.wrong},
            {"unexpected", found.weights.unexpected},
            {"complete", found.missing.empty() && found.wrong.empty()}};
}

std::string inspection_text(const json& inspection)
{
    const json& text = inspection.at("model").at("text");
    const json& vision = inspection.at("model").at("vision");
    const json& parameters = inspection.at("parameters");
    const json& memory = inspection.at("memory");

    std::string out = inspection.at("folder").get<std::string>() + "\n";
    out += fmt::format(
        "text         {} layers, cross-attention at {}; d_model {}, {} heads of {}, {} kv heads, MLP {}, "
        "vocabulary {} + 8\n",
        text.at("n_layers").dump(), text.at("cross_attention_layers").dump(), text.at("d_model").dump(),
        text.at("n_heads").dump(), text.at("d_head").dump(), text.at("n_kv_heads").dump(),
        text.at("d_mlp").dump(), text.at("n_vocabulary").dump());
    out +=
        fmt::format("vision       {} local + {} global layers, kept {}; d_model {}, {} heads of {}, MLP {}\n",
                    vision.at("n_layers").dump(), vision.at("n_global_layers").dump(),
                    vision.at("kept_layers").dump(), vision.at("d_model").dump(), vision.at("n_heads").dump(),
                    vision.at("d_head").dump(), vision.at("d_mlp").dump());
    out += fmt::format(
        "pictures     at most {} tiles of {} pixels, patches of {}: {} per tile with the class token\n",
        vision.at("max_tiles").dump(), vision.at("tile_size").dump(), vision.at("patch_size").dump(),
        vision.at("n_patches").dump());
    out += fmt::format("parameters   {}: vision {}, projector {}, text {}, embeddings {}\n",
                       parameters.at("total").dump(), parameters.at("vision").dump(),
                       parameters.at("projector").dump(), parameters.at("text").dump(),
                       parameters.at("embeddings").dump());
    out += "weights     ";
    for (const auto& [dtype, bytes] : memory.at("weight_bytes").items())
        out += fmt::format(" {} {},", dtype, bytes_text(bytes.get<std::uint64_t>()));
    out += fmt::format(" in files of {}\n", bytes_text(memory.at("file_bytes").get<std::uint64_t>()));
    out += fmt::format("cache        {} per token, {} per picture\n",
                       bytes_text(memory.at("kv_cache_bytes_per_token").get<std::uint64_t>()),
                       bytes_text(memory.at("image_cache_bytes").get<std::uint64_t>()));
    for (const char* what : {"missing", "wrong", "unexpected"})
        out += list_text(inspection, what);
    out.pop_back();  // the last line ends where the caller ends it
    return out;
}

}  // namespace pictor
