// The program `reference`: run, forward, tokenize, preprocess, inspect.
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include "base/safetensors_writer.h"
#include "base/utf8.h"
#include "reference/checkpoint/inspect.h"
#include "reference/checkpoint/load_tensors.h"
#include "reference/generate.h"
#include "reference/image/tiles.h"
#include "reference/options.h"
#include "reference/platform.h"
#include "reference/prompt/chat_template.h"

namespace pictor {

namespace {

using Json = nlohmann::json;

// What a trace says of one picture. `file` is empty for tensors that came without one.
Json describe_image(const TiledImage& picture, const std::filesystem::path& file, const VisionConfig& config)
{
    return {{"file", file.string()},
            {"size", {picture.height, picture.width}},
            {"resized", {picture.resized_height, picture.resized_width}},
            {"tiles", {picture.tiles_high, picture.tiles_wide}},
            {"tile_size", config.tile_size},
            {"patch_size", config.patch_size},
            {"aspect_ratio_id", picture.aspect_ratio_id}};
}

struct PreparedImages {
    VisionInputs tiled;
    std::vector<std::int64_t> tiles_present;  // [image]
    Json descriptions = Json::array();
};

PreparedImages prepare_images(const std::vector<std::filesystem::path>& files, const ModelConfig& config)
{
    PreparedImages prepared;
    const std::int64_t size = config.vision.tile_size, n_tiles = config.vision.max_tiles;
    prepared.tiled.pixel_values = Tensor({static_cast<std::int64_t>(files.size()), n_tiles, 3, size, size});
    for (std::size_t image = 0; image < files.size(); ++image) {
        const TiledImage picture = cut_into_tiles(decode_image(files[image]), config.image);
        require_shape("picture tiles", picture.pixel_values, {n_tiles, 3, size, size});
        std::copy(picture.pixel_values.values.begin(), picture.pixel_values.values.end(),
                  prepared.tiled.pixel_values.row(static_cast<std::int64_t>(image)));
        prepared.tiled.aspect_ratio_ids.push_back(picture.aspect_ratio_id);
        prepared.tiled.aspect_ratio_mask.insert(prepared.tiled.aspect_ratio_mask.end(),
                                                picture.tile_mask.begin(), picture.tile_mask.end());
        prepared.tiles_present.push_back(picture.tiles_high * picture.tiles_wide);
        prepared.descriptions.push_back(describe_image(picture, files[image], config.vision));
    }
    return prepared;
}

void finish_trace(TraceWriter& writer, const Options& options)
{
    writer.finish();
    for (const std::string& glob : writer.unmatched())
        fmt::print(stderr, "reference: --trace-only '{}' matched no tensor; trace show {} lists names\n",
                   glob, options.trace->folder.string());
    fmt::print(stderr, "trace: {}\n", options.trace->folder.string());
}

void describe_run(TraceWriter& writer, const Model& model, const Json& prompt, const Json& images)
{
    writer.describe("producer", "pictor");
    writer.describe("reference", rule_name(model.rule));
    writer.describe("model", describe_config(model.config));
    writer.describe("prompt", prompt);
    writer.describe("images", images);
}

// One answer, printed as it comes. Returns the words without special tokens.
std::string answer(const Model& model, const Tokenizer& tokenizer, const std::vector<std::int64_t>& token_ids,
                   const PreparedImages& images, const Options& options, TraceWriter* writer)
{
    GenerateInputs inputs{token_ids, images.tiled, {}};
    inputs.mask = make_cross_attention_mask(token_ids, model.config.image_token, images.tiles_present,
                                            model.config.vision.max_tiles);
    if (writer != nullptr)
        describe_run(*writer, model,
                     {{"text", prompt_text(tokenizer, token_ids, model.config.image_token)},
                      {"token_ids", token_ids},
                      {"token_texts", token_texts(tokenizer, token_ids, model.config.image_token)}},
                     images.descriptions);

    GenerateOptions generate_options{options.sampling, options.max_new_tokens, true};
    std::optional<Progress> progress(images.tiled.n_images() > 0 ? "looking at the picture"
                                                                 : "reading the prompt");
    TextStream stream(tokenizer);
    std::string text;
    const auto print = [&](const std::string& piece) {
        text += piece;
        fmt::print("{}", piece);
        std::fflush(stdout);
    };
    const std::vector<std::int64_t> generated =
        generate(model, inputs, generate_options, writer, [&](std::int64_t id) {
            progress.reset();
            print(stream.push(id));
        });
    print(stream.flush() + "\n");
    if (std::ferror(stdout) != 0)
        throw std::runtime_error("standard output: it could not be written");
    text.pop_back();
    if (writer != nullptr) {
        writer->describe("generated",
                         {{"token_ids", generated},
                          {"token_texts", token_texts(tokenizer, generated, model.config.image_token)},
                          {"text", text}});
        finish_trace(*writer, options);
    }
    return text;
}

// Every turn is read from the beginning again, as both references do, so that an answer depends on nothing
// but what was said.
void chat(const Model& model, const Tokenizer& tokenizer, const PreparedImages& images,
          const Options& options)
{
    std::vector<Turn> turns;
    std::string line = options.prompt;
    bool have_line = !line.empty();
    while (true) {
        if (!have_line) {
            if (stdin_is_terminal())
                fmt::print(stderr, "> ");
            if (!std::getline(std::cin, line))
                return;
        }
        have_line = false;
        if (line.empty())
            continue;
        turns.push_back({"user", line, turns.empty() ? images.tiled.n_images() : 0});
        const std::vector<std::int64_t> ids = encode_chat(tokenizer, turns, model.config.image_token);
        turns.push_back({"assistant", answer(model, tokenizer, ids, images, options, nullptr)});
    }
}

int run(const Options& options)
{
    // The trace folder is claimed before anything slow happens.
    std::optional<TraceWriter> writer;
    if (options.trace)
        writer.emplace(*options.trace);
    const Model model = load_model(options.model, options.rule);
    const Tokenizer tokenizer = Tokenizer::load(options.model);
    const PreparedImages images = prepare_images(options.images, model.config);
    if (options.chat) {
        chat(model, tokenizer, images, options);
        return 0;
    }
    const std::vector<std::int64_t> token_ids =
        options.raw ? encode_raw(tokenizer, options.prompt, model.config.image_token)
                    : encode_chat(tokenizer, {{"user", options.prompt, images.tiled.n_images()}},
                                  model.config.image_token);
    answer(model, tokenizer, token_ids, images, options, writer ? &*writer : nullptr);
    return 0;
}

void require_finite_pixels(const Tensor& pixels, const std::filesystem::path& file)
{
    for (float value : pixels.values)
        if (!std::isfinite(value))
            throw std::runtime_error(fmt::format(
                "{}: pixel_values: holds NaN or infinity; every pixel must be finite", file.string()));
}

std::vector<std::int64_t> load_zeros_and_ones(const SafetensorsFile& file, const std::string& name,
                                              const Shape& wanted)
{
    std::vector<std::int64_t> values = load_integers(file, name, wanted);
    for (std::int64_t value : values)
        if (value != 0 && value != 1)
            throw std::runtime_error(
                fmt::format("{}: {}: holds {}; want 0 or 1", file.path().string(), name, value));
    return values;
}

VisionInputs read_vision_inputs(const SafetensorsFile& file, const VisionConfig& config)
{
    VisionInputs images;
    if (file.find("pixel_values") == nullptr) {
        for (const char* name : {"aspect_ratio_ids", "aspect_ratio_mask", "cross_attention_mask"})
            if (file.find(name) != nullptr)
                throw std::runtime_error(
                    fmt::format("{}: it has {} but no pixel_values", file.path().string(), name));
        return images;
    }
    images.pixel_values =
        load_floats(file, "pixel_values", {-1, config.max_tiles, 3, config.tile_size, config.tile_size});
    require_finite_pixels(images.pixel_values, file.path());
    const std::int64_t n_images = images.pixel_values.extent(0);
    images.aspect_ratio_ids = load_integers(file, "aspect_ratio_ids", {n_images});
    images.aspect_ratio_mask = load_zeros_and_ones(file, "aspect_ratio_mask", {n_images, config.max_tiles});
    return images;
}

// The mask of the inputs file, or when it has none the one that the place of the `<|image|>` tokens asks for.
CrossAttentionMask read_mask(const SafetensorsFile& file, const std::vector<std::int64_t>& token_ids,
                             const VisionInputs& images, const ModelConfig& config)
{
    const std::int64_t n_tokens = static_cast<std::int64_t>(token_ids.size()), n_images = images.n_images(),
                       n_tiles = config.vision.max_tiles;
    if (file.find("cross_attention_mask") != nullptr)
        return {n_tokens, n_images, n_tiles,
                load_zeros_and_ones(file, "cross_attention_mask", {n_tokens, n_images, n_tiles})};
    std::vector<std::int64_t> tiles_present(static_cast<std::size_t>(n_images));
    for (std::size_t i = 0; i < images.aspect_ratio_mask.size(); ++i)
        tiles_present[i / static_cast<std::size_t>(n_tiles)] += images.aspect_ratio_mask[i];
    return make_cross_attention_mask(token_ids, config.image_token, tiles_present, n_tiles);
}

int forward(const Options& options)
{
    std::optional<TraceWriter> writer;
    if (options.trace)
        writer.emplace(*options.trace);
    const Model model = load_model(options.model, options.rule);
    const SafetensorsFile file(options.inputs);
    GenerateInputs inputs;
    inputs.token_ids = load_integers(file, "input_ids", {-1});
    if (inputs.token_ids.empty())
        throw std::runtime_error(
            fmt::format("{}: input_ids: holds no tokens; want at least one", file.path().string()));
    inputs.images = read_vision_inputs(file, model.config.vision);
    if (inputs.images.n_images() > 0)
        inputs.mask = read_mask(file, inputs.token_ids, inputs.images, model.config);

    if (writer) {
        Json images = Json::array();
        for (std::int64_t id : inputs.images.aspect_ratio_ids) {
            const std::vector<std::array<std::int64_t, 2>>& grids = model.config.vision.aspect_ratios;
            const bool known = id >= 1 && id <= static_cast<std::int64_t>(grids.size());
            images.push_back({{"tiles", known ? Json(grids[static_cast<std::size_t>(id - 1)]) : Json({0, 0})},
                              {"tile_size", model.config.vision.tile_size},
                              {"patch_size", model.config.vision.patch_size},
                              {"aspect_ratio_id", id}});
        }
        describe_run(*writer, model, {{"token_ids", inputs.token_ids}}, images);
    }
    GenerateOptions generate_options;
    generate_options.max_new_tokens = options.greedy;
    generate_options.stop_at_end_token = false;
    std::vector<std::int64_t> generated;
    {
        const Progress progress("running");
        generated =
            generate(model, inputs, generate_options, writer ? &*writer : nullptr, [](std::int64_t) {});
    }
    if (writer) {
        writer->describe("generated", {{"token_ids", generated}});
        finish_trace(*writer, options);
    }
    fmt::print("{}\n", Json{{"generated", {{"token_ids", generated}}}}.dump());
    return 0;
}

void print_tokens(const Tokenizer& tokenizer, const std::string& text, bool special)
{
    const std::vector<std::int64_t> ids = tokenizer.encode(text, special);
    Json pieces = Json::array();
    for (std::int64_t id : ids)
        pieces.push_back(valid_utf8(tokenizer.piece(id)));
    fmt::print("{}\n", Json{{"ids", ids}, {"pieces", pieces}}.dump());
}

int tokenize(const Options& options)
{
    const Tokenizer tokenizer =
        Tokenizer::load(options.tokenizer.empty() ? options.model : options.tokenizer);
    if (options.file.empty()) {
        print_tokens(tokenizer, options.text, options.special);
        return 0;
    }
    std::ifstream opened;
    if (options.file != "-") {
        opened.open(options.file);
        if (!opened || std::filesystem::is_directory(options.file))
            throw std::runtime_error(
                fmt::format("{}: cannot be read; give a text file, or - for standard input", options.file));
    }
    std::istream& lines = options.file == "-" ? std::cin : opened;
    for (std::string line; std::getline(lines, line);)
        print_tokens(tokenizer, line, options.special);
    return 0;
}

int preprocess(const Options& options)
{
    const ModelConfig config = read_config(options.model);
    const TiledImage picture = cut_into_tiles(decode_image(options.image), config.image);
    if (!options.output.empty())
        write_safetensors(options.output,
                          {{"pixel_values", picture.pixel_values.shape, picture.pixel_values.data()},
                           {"aspect_ratio_ids", {1}, &picture.aspect_ratio_id},
                           {"aspect_ratio_mask",
                            {static_cast<std::int64_t>(picture.tile_mask.size())},
                            picture.tile_mask.data()}});
    Json description = describe_image(picture, options.image, config.vision);
    description.erase("file");
    fmt::print("{}\n", description.dump());
    return 0;
}

int inspect(const Options& options)
{
    const Json inspection = inspect_checkpoint(options.model);
    fmt::print("{}\n", options.json ? inspection.dump(2) : inspection_text(inspection));
    if (inspection.at("complete").get<bool>())
        return 0;
    std::fflush(stdout);
    throw std::runtime_error(
        fmt::format("{}: cannot run: {} tensors are missing and {} are wrong; the report lists them",
                    options.model.string(), inspection.at("missing").size(), inspection.at("wrong").size()));
}

int execute(const Options& options)
{
    if (options.threads > 0)
        omp_set_num_threads(options.threads);
    const int status = options.command == "run"          ? run(options)
                       : options.command == "forward"    ? forward(options)
                       : options.command == "tokenize"   ? tokenize(options)
                       : options.command == "preprocess" ? preprocess(options)
                                                         : inspect(options);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error("standard output: it could not be written");
    return status;
}

}  // namespace

}  // namespace pictor

int main(int argc, char** argv)
{
    pictor::refuse_too_large_files_with_an_error();
    const pictor::Options options = pictor::read_options(argc, argv);
    try {
        return pictor::execute(options);
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "reference: %s: not enough memory for it\n", options.command.c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "reference: %s\n", error.what());
    }
    return 2;
}
