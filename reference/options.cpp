#include "reference/options.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>

#include "base/command_line.h"
#include "base/output_file.h"
#include "reference/platform.h"

namespace pictor {

namespace {

constexpr std::int64_t most_tokens = 1 << 20;

// CLI::Range lets NaN through: it is neither below nor above.
const CLI::Validator finite(
    [](std::string& text) {
        return std::isfinite(std::strtod(text.c_str(), nullptr)) ? "" : "want a finite number, got " + text;
    },
    "");

// CLI11 reads -1 as the largest of all numbers, and what is too large as that one too.
const CLI::Validator whole_64_bits(
    [](std::string& text) {
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        return error == std::errc() && end == text.data() + text.size()
                   ? ""
                   : "want a whole number of 0 to 2^64 - 1, got " + text;
    },
    "");

// $PICTOR_MODEL, else the shipped model: beside the program or in a folder above it.
std::filesystem::path default_model()
{
    if (const char* from_environment = std::getenv("PICTOR_MODEL");
        from_environment != nullptr && *from_environment != '\0')
        return from_environment;
    for (std::filesystem::path folder = program_folder(); !folder.empty(); folder = folder.parent_path()) {
        for (const char* place : {"models/pictor", "share/pictor/models/pictor"})
            if (std::filesystem::exists(folder / place / "config.json"))
                return folder / place;
        if (folder == folder.parent_path())
            break;
    }
    return "models/pictor";
}

struct TraceArguments {
    std::string folder, values = "sample";
    std::vector<std::string> only;
    bool npy = false, force = false;
};

void add_model(CLI::App& app, Options& options)
{
    app.add_option("--model", options.model,
                   "checkpoint folder (default: $PICTOR_MODEL, else the shipped model)")
        ->type_name("DIR");
}

void add_execution(CLI::App& app, Options& options)
{
    app.add_option_function<std::string>(
           "--reference", [&options](const std::string& name) { options.rule = parse_rule(name).value(); },
           "whose rules to follow where the two references disagree (default: meta)")
        ->check(CLI::IsMember({"meta", "transformers"}))
        ->type_name("meta|transformers");
    app.add_flag("--quiet", options.quiet, "show no progress");
    app.add_option("--threads", options.threads, "threads (default: all processors)")
        ->check(CLI::Range(1, 1024))
        ->type_name("N");
}

void add_trace(CLI::App& app, TraceArguments& trace)
{
    app.add_option("--trace", trace.folder, "write every intermediate tensor into this new folder")
        ->type_name("DIR");
    app.add_option("--trace-only", trace.only,
                   "only tensors whose name matches, such as '*.probs'; may be repeated")
        ->type_name("GLOB");
    app.add_option("--trace-values", trace.values,
                   "sample keeps a fixed stride of tensors over 262,144 values (default)")
        ->check(CLI::IsMember({"all", "sample", "none"}))
        ->type_name("all|sample|none");
    app.add_flag("--trace-npy", trace.npy, "each tensor whole as .npy, too");
    app.add_flag("--force", trace.force, "replace the folder of an earlier trace");
}

CLI::App* add_run(CLI::App& app, Options& options, TraceArguments& trace)
{
    CLI::App* run = app.add_subcommand("run", "ask about pictures, or just talk");
    run->footer(
        "Example: reference run --image models/pictor/pictures/demo.png --prompt \"What is in this image?\"");
    add_model(*run, options);
    run->add_option("--image", options.images,
                    "a picture; may be repeated, in the order the prompt speaks of them")
        ->type_name("FILE");
    run->add_option("--prompt", options.prompt, "the question")->type_name("TEXT");
    run->add_flag("--raw", options.raw,
                  "the prompt as it is, without the chat template; its special tokens are honoured");
    run->add_flag("--chat", options.chat,
                  "keep asking: one line of standard input is one turn; /help lists what else it takes");
    run->add_option("--max-new-tokens", options.max_new_tokens, "stop after so many (default: 128)")
        ->check(CLI::Range(std::int64_t{0}, most_tokens))
        ->type_name("N");
    run->add_option("--temperature", options.sampling.temperature, "0: always the likeliest word (default)")
        ->check(finite)
        ->check(CLI::Range(0.0, 1000.0))
        ->type_name("T");
    run->add_option("--top-p", options.sampling.top_p,
                    "sample among the likeliest words that together reach P")
        ->check(finite)
        ->check(CLI::Range(0.0, 1.0))
        ->type_name("P");
    run->add_option("--top-k", options.sampling.top_k, "sample among the K likeliest words")
        ->check(CLI::Range(std::int64_t{0}, most_tokens))
        ->type_name("K");
    run->add_option("--seed", options.sampling.seed, "of the random numbers")
        ->check(whole_64_bits)
        ->type_name("N");
    add_execution(*run, options);
    add_trace(*run, trace);
    return run;
}

CLI::App* add_forward(CLI::App& app, Options& options, TraceArguments& trace)
{
    CLI::App* forward =
        app.add_subcommand("forward", "run exact tensors, to compare with another implementation");
    forward->footer(
        "Example: reference forward --model DIR --inputs inputs.safetensors --greedy 4 --trace run");
    add_model(*forward, options);
    forward
        ->add_option(
            "--inputs", options.inputs,
            "input_ids; optional pixel_values, aspect_ratio_ids, aspect_ratio_mask, cross_attention_mask")
        ->required()
        ->type_name("FILE.safetensors");
    forward->add_option("--greedy", options.greedy, "go on for exactly so many tokens")
        ->check(CLI::Range(std::int64_t{0}, most_tokens))
        ->type_name("N");
    add_execution(*forward, options);
    add_trace(*forward, trace);
    return forward;
}

void add_tokenize(CLI::App& app, Options& options)
{
    CLI::App* tokenize = app.add_subcommand("tokenize", "text to token ids, as JSON");
    tokenize->footer("Example: reference tokenize \"What is in this image?\"");
    add_model(*tokenize, options);
    tokenize
        ->add_option("--tokenizer", options.tokenizer,
                     "tokenizer.json, or Meta's tokenizer.model (default: the model's)")
        ->type_name("FILE");
    tokenize->add_flag("--special", options.special, "honour special tokens in the text");
    CLI::Option* file =
        tokenize
            ->add_option("--file", options.file, "one text per line, one JSON per line; - is standard input")
            ->type_name("FILE");
    tokenize->add_option("text", options.text, "the text")->excludes(file)->type_name("TEXT");
}

void add_preprocess(CLI::App& app, Options& options)
{
    CLI::App* preprocess = app.add_subcommand("preprocess", "a picture to tiles, as JSON");
    preprocess->footer("Example: reference preprocess photo.png --output tiles.safetensors");
    add_model(*preprocess, options);
    preprocess->add_option("file", options.image, "the picture")->required()->type_name("FILE");
    preprocess->add_option("--output", options.output, "pixel_values, aspect_ratio_ids and aspect_ratio_mask")
        ->type_name("FILE.safetensors");
    preprocess->add_flag("--force", options.force, "replace whatever file --output names");
}

void add_inspect(CLI::App& app, Options& options)
{
    CLI::App* inspect = app.add_subcommand("inspect", "what a checkpoint is made of, and what is missing");
    inspect->footer("Example: reference inspect --model DIR");
    add_model(*inspect, options);
    inspect->add_flag("--json", options.json, "as JSON");
}

void add_synthesize(CLI::App& app, Options& options, bool& slice)
{
    SynthesizeOptions& wanted = options.synthesize;
    CLI::App* command = app.add_subcommand(
        "synthesize", "a checkpoint of the real model's shape, its numbers a hash of name and index");
    command->footer("Example: reference synthesize --preset 11b --slice --out slice");
    command->add_option("--preset", wanted.preset, "whose widths (default: 11b)")
        ->check(CLI::IsMember({"11b", "90b"}))
        ->type_name("11b|90b");
    CLI::Option* layers =
        command
            ->add_option("--layers", wanted.layers,
                         "how many: self-attention, cross-attention, local vision, global vision")
            ->delimiter(',')
            ->expected(4)
            ->check(CLI::Range(std::int64_t{1}, std::int64_t{512}))
            ->type_name("SELF,CROSS,LOCAL,GLOBAL");
    command->add_flag("--slice", slice, "one layer of each kind at full width: --layers 1,1,1,1")
        ->excludes(layers);
    command
        ->add_option("--vocabulary", wanted.vocabulary, "rows of the LM head (default: the preset's, 128256)")
        ->check(CLI::Range(std::int64_t{1}, most_tokens))
        ->type_name("N");
    command->add_flag("--f32", wanted.f32, "float32 instead of BF16");
    command
        ->add_option("--tokenizer", wanted.tokenizer_folder,
                     "a checkpoint folder whose tokenizer is copied (default: the shipped model); ids above "
                     "its vocabulary have no text")
        ->type_name("DIR");
    command->add_option("--out", wanted.folder, "the folder to make")->required()->type_name("DIR");
    command->add_flag("--force", wanted.force, "replace the folder of an earlier one");
    command->add_flag("--quiet", options.quiet, "show no progress");
}

std::optional<TraceOptions> trace_options(const TraceArguments& arguments, const CLI::App& command)
{
    if (command.count("--trace") == 0) {
        if (!arguments.only.empty() || arguments.npy || arguments.force ||
            command.count("--trace-values") > 0)
            throw CLI::ValidationError("--trace", "the options of a trace need --trace DIR beside them");
        return std::nullopt;
    }
    if (arguments.folder.empty())
        throw CLI::ValidationError("--trace", "want the name of a folder to make, got none");
    TraceOptions trace;
    trace.folder = arguments.folder;
    trace.only = arguments.only;
    trace.values = arguments.values == "all"    ? TraceValues::all
                   : arguments.values == "none" ? TraceValues::none
                                                : TraceValues::sample;
    trace.npy = arguments.npy;
    trace.force = arguments.force;
    return trace;
}

void require_sense(const Options& options, const CLI::App& run)
{
    if (options.command == "tokenize" && options.text.empty() && options.file.empty() &&
        run.get_parent()->get_subcommand("tokenize")->count("text") == 0)
        throw CLI::ValidationError("TEXT", "give a text, or --file FILE");
    if (options.command != "run")
        return;
    if (options.chat && options.raw)
        throw CLI::ValidationError("--chat", "a conversation needs the chat template; leave out --raw");
    if (options.chat && options.trace)
        throw CLI::ValidationError("--chat", "a trace is of one answer; leave out --trace, or --chat");
    if (!options.chat && run.count("--prompt") == 0)
        throw CLI::ValidationError("--prompt", "give the question, or --chat to type it");
}

}  // namespace

Options read_options(int argc, char** argv)
{
    Options options;
    TraceArguments trace;
    CLI::App app("Llama 3.2-Vision in plain C++, showing its work.", "reference");
    app.require_subcommand(1);
    app.footer(std::string(overwriting_rule) +
               "\nExample: reference run --image models/pictor/pictures/demo.png "
               "--prompt \"What is in this image?\"");
    CLI::App* run = add_run(app, options, trace);
    add_forward(app, options, trace);
    add_tokenize(app, options);
    add_preprocess(app, options);
    add_inspect(app, options);
    bool slice = false;
    add_synthesize(app, options, slice);
    try {
        app.parse(argc, argv);
        const CLI::App* chosen = app.get_subcommands().front();
        options.command = chosen->get_name();
        if (options.command == "run" || options.command == "forward")
            options.trace = trace_options(trace, *chosen);
        require_sense(options, *run);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            app.exit(error);  // prints the help
            if (std::cout.flush())
                std::exit(0);
            std::fprintf(stderr, "reference: standard output: it could not be written\n");
            std::exit(2);
        }
        std::fprintf(stderr, "reference: %s\n", usage_error(app, error).c_str());
        std::exit(2);
    }
    if (options.model.empty())
        options.model = default_model();
    if (slice)
        options.synthesize.layers = {1, 1, 1, 1};
    if (options.synthesize.tokenizer_folder.empty())
        options.synthesize.tokenizer_folder = default_model();
    return options;
}

}  // namespace pictor
