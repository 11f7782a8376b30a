// The program `reference`: run, forward, tokenize, preprocess, inspect, synthesize.
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
#include <unistd.h>

#include "base/input_file.h"
#include "base/safetensors_writer.h"
#include "base/shown_text.h"
#include "base/temporary.h"
#include "base/utf8.h"
#include "reference/chat.h"
#include "reference/checkpoint/inspect.h"
#include "reference/checkpoint/synthesize.h"
#include "reference/forward.h"
#include "reference/image/prepare.h"
#include "reference/options.h"
#include "reference/platform.h"
#include "reference/prompt/chat_template.h"
#include "reference/run_trace.h"
#include "reference/warnings.h"

namespace pictor {

namespace {

using Json = nlohmann::json;

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
                    : encode_chat(tokenizer, {{"user", options.prompt, images.inputs.n_images()}},
                                  model.config.image_token);
    Warnings warnings;
    warnings.say("blind words",
                 blind_words_warning(images.inputs.n_images(), options.rule, options.max_new_tokens));
    warnings.say("no picture", missing_picture_warning(options.prompt, images.inputs.n_images()));
    answer(model, tokenizer, token_ids, images, options, writer ? &*writer : nullptr);
    if (writer)
        finish_trace(*writer, *options.trace);
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

// One text per line. An error says which line it is.
void tokenize_lines(const Tokenizer& tokenizer, std::istream& lines, const std::string& name, bool special)
{
    std::int64_t number = 0;
    try {
        lines.exceptions(std::ios::badbit);  // a line that memory cannot hold is no end of the file
        for (std::string line; ++number, std::getline(lines, line);)
            print_tokens(tokenizer, line, special);
    } catch (const std::bad_alloc&) {
        throw std::runtime_error(fmt::format("{}: line {}: not enough memory for it", name, number));
    } catch (const std::exception& error) {
        throw std::runtime_error(fmt::format("{}: line {}: {}", name, number, error.what()));
    }
}

int tokenize(const Options& options)
{
    const Tokenizer tokenizer =
        Tokenizer::load(options.tokenizer.empty() ? options.model : options.tokenizer);
    if (options.file.empty()) {
        print_tokens(tokenizer, options.text, options.special);
    } else if (options.file == "-") {
        tokenize_lines(tokenizer, std::cin, "standard input", options.special);
    } else {
        std::uint64_t bytes = 0;
        ::close(open_regular_file(options.file, "a text file, or - for standard input", bytes));
        std::ifstream lines(options.file, std::ios::binary);
        tokenize_lines(tokenizer, lines, options.file, options.special);
    }
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
                            picture.tile_mask.data()}},
                          options.force ? Overwrite::any_file : Overwrite::same_kind);
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

int synthesize(const Options& options)
{
    Progress progress("writing", options.quiet);
    synthesize(options.synthesize, [&](double share) { progress.at("writing", share); });
    return 0;
}

int execute(const Options& options)
{
    if (options.threads > 0)
        omp_set_num_threads(options.threads);
    const int status = options.command == "run"          ? run(options)
                       : options.command == "forward"    ? forward(options)
                       : options.command == "tokenize"   ? tokenize(options)
                       : options.command == "preprocess" ? preprocess(options)
                       : options.command == "synthesize" ? synthesize(options)
                                                         : inspect(options);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
        throw std::runtime_error("standard output: it could not be written");
    return status;
}

}  // namespace

}  // namespace pictor

int main(int argc, char** argv)
{
    pictor::let_waiting_threads_sleep(argv);
    pictor::refuse_too_large_files_with_an_error();
    pictor::remove_temporaries_when_stopped();
    const pictor::Options options = pictor::read_options(argc, argv);
    try {
        return pictor::execute(options);
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "reference: %s: not enough memory for it\n", options.command.c_str());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "reference: %s\n", pictor::terminal_text(error.what()).c_str());
    }
    return 2;
}
