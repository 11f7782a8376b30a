#include "reference/chat.h"

#include <cstdio>
#include <iostream>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "reference/generate.h"
#include "reference/platform.h"
#include "reference/prompt/chat_template.h"
#include "reference/run_trace.h"

namespace pictor {

std::string answer(const Model& model, const Tokenizer& tokenizer, const std::vector<std::int64_t>& token_ids,
                   const PreparedImages& images, const Options& options, TraceWriter* writer)
{
    GenerateInputs inputs{token_ids, images.inputs, {}};
    inputs.mask = make_cross_attention_mask(token_ids, model.config.image_token, images.tiles_present,
                                            model.config.vision.max_tiles);
    if (writer != nullptr)
        describe_run(*writer, model,
                     {{"text", prompt_text(tokenizer, token_ids, model.config.image_token)},
                      {"token_ids", token_ids},
                      {"token_texts", token_texts(tokenizer, token_ids, model.config.image_token)}},
                     images.descriptions);

    GenerateOptions generate_options{options.sampling, options.max_new_tokens, true};
    std::optional<Progress> progress(images.inputs.n_images() > 0 ? "looking at the picture"
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
        finish_trace(*writer, *options.trace);
    }
    return text;
}

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
        turns.push_back({"user", line, turns.empty() ? images.inputs.n_images() : 0});
        const std::vector<std::int64_t> ids = encode_chat(tokenizer, turns, model.config.image_token);
        turns.push_back({"assistant", answer(model, tokenizer, ids, images, options, nullptr)});
    }
}

}  // namespace pictor
