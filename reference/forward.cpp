#include "reference/forward.h"

#include <cmath>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/at.h"
#include "reference/checkpoint/load_tensors.h"
#include "reference/platform.h"
#include "reference/run_trace.h"

namespace pictor {

namespace {

using Json = nlohmann::json;

[[noreturn]] void refuse(const SafetensorsFile& file, const std::string& what)
{
    throw std::runtime_error(fmt::format("{}: {}", file.path().string(), what));
}

std::vector<std::int64_t> load_zeros_and_ones(const SafetensorsFile& file, const std::string& name,
                                              const Shape& wanted)
{
    std::vector<std::int64_t> values = load_integers(file, name, wanted);
    for (std::int64_t value : values)
        if (value != 0 && value != 1)
            refuse(file, fmt::format("{}: holds {}; want 0 or 1", name, value));
    return values;
}

VisionInputs read_vision_inputs(const SafetensorsFile& file, const VisionConfig& config)
{
    VisionInputs images;
    if (file.find("pixel_values") == nullptr) {
        for (const char* name : {"aspect_ratio_ids", "aspect_ratio_mask", "cross_attention_mask"})
            if (file.find(name) != nullptr)
                refuse(file, fmt::format("it has {} but no pixel_values", name));
        return images;
    }
    images.pixel_values =
        load_floats(file, "pixel_values", {-1, config.max_tiles, 3, config.tile_size, config.tile_size});
    for (float value : images.pixel_values.values)
        if (!std::isfinite(value))
            refuse(file, "pixel_values: holds NaN or infinity; every pixel must be finite");
    const std::int64_t n_images = images.pixel_values.extent(0);
    images.aspect_ratio_ids = load_integers(file, "aspect_ratio_ids", {n_images});
    images.aspect_ratio_mask = load_zeros_and_ones(file, "aspect_ratio_mask", {n_images, config.max_tiles});
    return images;
}

// The file's mask; without one, the mask that the places of the `<|image|>` tokens ask for.
CrossAttentionMask read_mask(const SafetensorsFile& file, const std::vector<std::int64_t>& token_ids,
                             const VisionInputs& images, const ModelConfig& config)
{
    const std::int64_t n_tokens = std::ssize(token_ids), n_images = images.n_images();
    const std::int64_t n_tiles = config.vision.max_tiles;
    if (file.find("cross_attention_mask") != nullptr)
        return {n_tokens, n_images, n_tiles,
                load_zeros_and_ones(file, "cross_attention_mask", {n_tokens, n_images, n_tiles})};
    std::vector<std::int64_t> tiles_present(images.aspect_ratio_ids.size());
    for (std::int64_t image = 0; image < n_images; ++image)
        for (std::int64_t tile = 0; tile < n_tiles; ++tile)
            at(tiles_present, image) += at(images.aspect_ratio_mask, image * n_tiles + tile);
    return make_cross_attention_mask(token_ids, config.image_token, tiles_present, n_tiles);
}

// Of images that come as tensors nothing is known but their grids of tiles.
Json describe_images(const VisionInputs& images, const VisionConfig& config)
{
    Json descriptions = Json::array();
    for (std::int64_t id : images.aspect_ratio_ids) {
        const bool known = id >= 1 && id <= std::ssize(config.aspect_ratios);
        descriptions.push_back({{"tiles", known ? Json(at(config.aspect_ratios, id - 1)) : Json({0, 0})},
                                {"tile_size", config.tile_size},
                                {"patch_size", config.patch_size},
                                {"aspect_ratio_id", id}});
    }
    return descriptions;
}

}  // namespace

GenerateInputs read_forward_inputs(const std::filesystem::path& path, const ModelConfig& config)
{
    const SafetensorsFile file(path);
    GenerateInputs inputs;
    inputs.token_ids = load_integers(file, "input_ids", {-1});
    if (inputs.token_ids.empty())
        refuse(file, "input_ids: holds no tokens; want at least one");
    inputs.images = read_vision_inputs(file, config.vision);
    if (inputs.images.n_images() > 0)
        inputs.mask = read_mask(file, inputs.token_ids, inputs.images, config);
    return inputs;
}

int forward(const Options& options)
{
    std::optional<TraceWriter> writer;
    if (options.trace)
        writer.emplace(*options.trace);
    const Model model = load_model(options.model, options.rule);
    const GenerateInputs inputs = read_forward_inputs(options.inputs, model.config);
    if (writer)
        describe_run(*writer, model, {{"token_ids", inputs.token_ids}},
                     describe_images(inputs.images, model.config.vision));

    GenerateOptions generate_options;
    generate_options.max_new_tokens = options.greedy;
    generate_options.stop_at_end_token = false;
    std::optional<Progress> progress(std::in_place, "running", options.quiet);
    const std::vector<std::int64_t> generated =
        generate(model, inputs, generate_options, writer ? &*writer : nullptr, [](std::int64_t) {});
    progress.reset();
    if (writer) {
        writer->describe("generated", {{"token_ids", generated}});
        finish_trace(*writer, *options.trace);
    }
    fmt::print("{}\n", Json{{"generated", {{"token_ids", generated}}}}.dump());
    return 0;
}

}  // namespace pictor
