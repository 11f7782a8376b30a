#include "reference/chat.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <optional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/at.h"
#include "base/command_line.h"
#include "base/shown_text.h"
#include "reference/generate.h"
#include "reference/platform.h"
#include "reference/prompt/chat_template.h"
#include "reference/run_trace.h"
#include "reference/warnings.h"

namespace pictor {

Answered answer(const Model& model, const Tokenizer& tokenizer, const std::vector<std::int64_t>& token_ids,
                const PreparedImages& images, const Options& options, TraceWriter* writer, bool aloud)
{
    const std::int64_t image_token = model.config.image_token;
    GenerateInputs inputs{token_ids, images.inputs, {}};
    inputs.mask = make_cross_attention_mask(token_ids, image_token, images.tiles_present,
                                            model.config.vision.max_tiles);
    if (writer != nullptr)
        describe_run(*writer, model,
                     {{"text", prompt_text(tokenizer, token_ids, image_token)},
                      {"token_ids", token_ids},
                      {"token_texts", token_texts(tokenizer, token_ids, image_token)}},
                     images.descriptions);

    GenerateOptions generate_options{options.sampling, options.max_new_tokens, true};
    std::optional<Progress> progress(
        std::in_place, images.inputs.n_images() > 0 ? "looking at the picture" : "reading the prompt",
        options.quiet);
    TextStream stream(tokenizer);
    Answered answered;
    const auto print = [&](const std::string& piece) {
        answered.text += piece;
        if (aloud)
            fmt::print("{}", piece);
        std::fflush(stdout);
    };
    answered.ids = generate(model, inputs, generate_options, writer, [&](std::int64_t id) {
        progress.reset();
        print(stream.push(id));
    });
    print(stream.flush() + "\n");
    if (std::ferror(stdout) != 0)
        throw std::runtime_error("standard output: it could not be written");
    answered.text.pop_back();
    if (writer != nullptr)
        writer->describe("generated", {{"token_ids", answered.ids},
                                       {"token_texts", token_texts(tokenizer, answered.ids, image_token)},
                                       {"text", answered.text}});
    return answered;
}

namespace {

constexpr const char* help_text =
    "/help          this list\n"
    "/image FILE    show it a picture, before your next question\n"
    "/look [WORD]   where it looked before the last word of its answer, or before WORD\n"
    "/trace [DIR]   write a trace of its last answer into a new folder\n"
    "/reset         begin again: what was said is forgotten, and every picture shown since the start\n"
    "/quit          end, as Ctrl-D does\n"
    "Everything else is a question; one that begins with / is written with two.\n";

class Conversation {
public:
    Conversation(const Model& model, const Tokenizer& tokenizer, const PreparedImages& images,
                 const Options& options)
        : model_(model), tokenizer_(tokenizer), options_(options), first_images_(images)
    {
        reset();
    }

    void greet() const;
    void ask(const std::string& question);
    // Returns false when it was /quit.
    bool command(const std::string& line);

private:
    void reset();
    void show(const std::string& file);
    void look(const std::string& word) const;
    void write_trace(const std::string& folder) const;
    void answer_again(TraceWriter& writer) const;
    void require_answer(const char* what) const;

    const Model& model_;
    const Tokenizer& tokenizer_;
    const Options& options_;
    const PreparedImages& first_images_;
    PreparedImages images_;
    std::vector<std::filesystem::path> files_;
    std::int64_t new_images_ = 0;  // shown since the last question
    std::vector<Turn> turns_;
    std::vector<std::int64_t> read_;  // the ids that the last answer was given to
    Answered last_;
    Warnings warnings_;
};

void Conversation::greet() const
{
    fmt::print(stderr, "{} is listening", options_.model.lexically_normal().filename().string());
    for (std::size_t i = 0; i < files_.size(); ++i)
        fmt::print(stderr, "{}{}", i == 0 ? " and looking at " : ", ", files_[i].filename().string());
    fmt::print(stderr, ". Ask a question, or type /help; /quit ends.\n");
}

void Conversation::reset()
{
    images_ = first_images_;
    files_ = options_.images;
    new_images_ = std::ssize(files_);
    turns_.clear();
    read_.clear();
    last_ = {};
}

void Conversation::ask(const std::string& question)
{
    const std::int64_t n_images = images_.inputs.n_images();
    warnings_.say("blind words", blind_words_warning(n_images, options_.rule, options_.max_new_tokens));
    warnings_.say("no picture", missing_picture_warning(question, n_images));
    turns_.push_back({"user", question, new_images_});
    new_images_ = 0;
    read_ = encode_chat(tokenizer_, turns_, model_.config.image_token);
    const std::int64_t n_turns = (std::ssize(turns_) + 1) / 2;
    warnings_.say("long chat", long_chat_warning(n_turns, std::ssize(read_), model_.config));
    last_ = answer(model_, tokenizer_, read_, images_, options_, nullptr);
    turns_.push_back({"assistant", last_.text});
}

void Conversation::show(const std::string& file)
{
    if (file.empty())
        throw std::runtime_error("/image: want the file of a picture behind it, got none");
    std::vector<std::filesystem::path> files = files_;
    files.emplace_back(file);
    images_ = prepare_images(files, model_.config);
    files_ = std::move(files);
    ++new_images_;
    const auto& size = images_.descriptions.back().at("size");
    fmt::print(stderr, "{}: {} x {} pixels; ask about it\n", file, size[1].get<std::int64_t>(),
               size[0].get<std::int64_t>());
}

void Conversation::require_answer(const char* what) const
{
    if (last_.ids.empty())
        throw std::runtime_error(
            fmt::format("{}: nothing has been answered yet; ask a question first", what));
}

// Same ids, same pictures, same seed: the same answer.
void Conversation::answer_again(TraceWriter& writer) const
{
    answer(model_, tokenizer_, read_, images_, options_, &writer, false);
}

void Conversation::write_trace(const std::string& folder) const
{
    require_answer("/trace");
    TraceOptions options;
    options.folder = folder.empty() ? "chat-trace" : folder;
    for (int number = 2; folder.empty() && std::filesystem::exists(options.folder); ++number)
        options.folder = fmt::format("chat-trace-{}", number);
    TraceWriter writer(options);
    answer_again(writer);
    finish_trace(writer, options);
}

// The trace of one layer's attention, kept as long as viz draws from it.
void Conversation::look(const std::string& word) const
{
    require_answer("/look");
    if (images_.inputs.n_images() == 0)
        throw std::runtime_error("/look: it was shown no picture; /image FILE shows it one");
    const std::vector<std::string> texts = token_texts(tokenizer_, last_.ids, model_.config.image_token);
    std::int64_t last_word = std::ssize(texts) - 1;
    const auto has_letter = [](const std::string& text) {
        return !text.starts_with("<|") && std::any_of(text.begin(), text.end(), [](unsigned char c) {
            return std::isalnum(c) || c >= 0x80;
        });
    };
    while (last_word > 0 && !has_letter(at(texts, last_word)))
        --last_word;
    TraceOptions options;
    options.folder = scratch_folder();
    options.force = true;
    options.values = TraceValues::all;
    options.only = {"cross_attention_mask", "full_text_row_masked_out_mask",
                    fmt::format("language_model.layers.{}.cross_attn.probs",
                                model_.config.text.cross_attention_layers.back())};
    TraceWriter writer(options);
    answer_again(writer);
    writer.finish();
    const std::string token = word.empty() ? fmt::format("{}", std::ssize(read_) + last_word) : word;
    run_beside("viz", {"heatmap", options.folder.string(), "--terminal", "--token", token});
    std::error_code ignored;
    std::filesystem::remove_all(options.folder, ignored);
}

bool Conversation::command(const std::string& line)
{
    static const std::vector<std::string> names{"/help", "/image", "/look", "/trace", "/reset", "/quit"};
    const std::size_t space = line.find_first_of(" \t");
    const std::string name = line.substr(0, space);
    std::string rest = space == std::string::npos ? "" : line.substr(line.find_first_not_of(" \t", space));
    if (rest.size() > 1 && (rest.front() == '"' || rest.front() == '\'') && rest.back() == rest.front())
        rest = rest.substr(1, rest.size() - 2);
    if (name == "/quit")
        return false;
    if (name == "/help") {
        fmt::print(stderr, "{}", help_text);
    } else if (name == "/reset") {
        reset();
        greet();
    } else if (name == "/image") {
        show(rest);
    } else if (name == "/look") {
        look(rest);
    } else if (name == "/trace") {
        write_trace(rest);
    } else {
        const std::string near = nearest_word(name, names);
        throw std::runtime_error(fmt::format("{}: no command; {}", visible_text(name),
                                             near.empty() ? "/help lists them" : near + " would be right"));
    }
    return true;
}

}  // namespace

void chat(const Model& model, const Tokenizer& tokenizer, const PreparedImages& images,
          const Options& options)
{
    Conversation conversation(model, tokenizer, images, options);
    if (stdin_is_terminal())
        conversation.greet();
    if (!options.prompt.empty())
        conversation.ask(options.prompt);
    while (true) {
        std::string line;
        if (stdin_is_terminal())
            fmt::print(stderr, "> ");
        if (!std::getline(std::cin, line))
            return;
        if (line.starts_with("/") && !line.starts_with("//")) {
            try {
                if (!conversation.command(line.substr(0, line.find_last_not_of(" \t\r") + 1)))
                    return;
            } catch (const std::runtime_error& error) {
                fmt::print(stderr, "reference: {}\n", error.what());
            }
        } else if (!line.empty()) {
            conversation.ask(line.starts_with("//") ? line.substr(1) : line);
        }
    }
}

}  // namespace pictor
