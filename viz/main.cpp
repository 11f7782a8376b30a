// viz: pictures of a recorded run and of a model's architecture.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/command_line.h"
#include "base/output_file.h"
#include "base/shown_text.h"
#include "base/temporary.h"
#include "viz/drawing/output.h"
#include "viz/drawing/raster.h"
#include "viz/graphs/architecture.h"
#include "viz/graphs/corrections.h"
#include "viz/graphs/layer_graph.h"
#include "viz/graphs/run_diagram.h"
#include "viz/heatmaps/heatmap_command.h"
#include "viz/matrices/matrix.h"
#include "viz/report/report.h"
#include "viz/report/report_parts.h"

namespace {

void add_force(CLI::App& command, pictor::Overwrite& overwrite)
{
    command.add_flag_callback(
        "--force", [&overwrite] { overwrite = pictor::Overwrite::any_file; },
        "replace whatever file --output names");
}

void print_files(const std::vector<std::filesystem::path>& files)
{
    for (const auto& file : files)
        if (file != "-")
            fmt::print("{}\n", file.string());
}

void add_heatmap(CLI::App& app, pictor::HeatmapOptions& options)
{
    CLI::App* command =
        app.add_subcommand("heatmap", "where cross-attention looked before a word, over the picture");
    command->add_option("trace", options.trace, "trace folder")->required();
    command->add_option("--layer", options.layer,
                        "cross-attention layer (default: the last), or vision.N or global.N with --patch");
    command->add_option("--head", options.head, "a number, mean, max, or entropy (default: mean)");
    command->add_option(
        "--token", options.token,
        "a word, or its index in prompt and answer together (default: the answer's most pointed word)");
    command->add_option("--image", options.image, "which picture, from 0 (default: the one read most)")
        ->check(CLI::NonNegativeNumber);
    command->add_option("--picture", options.picture, "picture file, when it is not where the trace says");
    command->add_option("--weight", options.weight,
                        "attention, or values: times the norm of the value it moves and |tanh(gate)|");
    command->add_option("--minus", options.minus, "another trace: draw the difference");
    command->add_option("--patch", options.patch,
                        "ROW,COLUMN: the patch that looks, inside the vision encoder");
    command->add_flag("--all", options.all,
                      "three contact sheets: words x heads, layers x words, the whole answer");
    command->add_option("--sheet", options.sheet, "one of them: heads, layers or answer");
    command->add_option("--scale", options.scale, "of --sheet heads: one for the sheet, or one for each head")
        ->check(CLI::IsMember({"sheet", "head"}))
        ->capture_default_str();
    command->add_flag("--smooth", options.smooth, "smooth between patch centres");
    command->add_flag("--terminal", options.terminal, "draw it here, in the terminal, and write no file");
    command->add_option("--output", options.output,
                        "file ending in .png, .svg, .pdf or .json (the numbers); default: beside the trace");
    add_force(*command, options.overwrite);
    command->footer("Example: viz heatmap traces/demo --layer 8 --token star --output star.png");
    command->callback([&options] { print_files(pictor::run_heatmap(options)); });
}

struct ArchitectureCommand {
    std::filesystem::path model, config, trace, picture, output = "architecture.svg";
    std::string preset, style = "article";
    bool unfold = false, corrections = false;
    pictor::Overwrite overwrite = pictor::Overwrite::same_kind;
};

std::filesystem::path model_folder()
{
    const char* const from_environment = std::getenv("PICTOR_MODEL");
    return from_environment ? from_environment : "models/pictor";
}

pictor::ModelSizes chosen_sizes(const ArchitectureCommand& command)
{
    if (!command.preset.empty() || (command.corrections && command.config.empty() && command.model.empty()))
        return pictor::preset_sizes(command.preset.empty() ? "11b" : command.preset);
    if (!command.config.empty())
        return pictor::read_model_sizes(command.config, command.config.parent_path().filename().string());
    const std::filesystem::path model = command.model.empty() ? model_folder() : command.model;
    const std::string name =
        std::filesystem::absolute(model / "config.json").parent_path().filename().string();
    return pictor::read_model_sizes(model / "config.json", name == "pictor" ? "Pictor" : name);
}

// The likeliest words after the prompt.
std::vector<pictor::LikelyWord> first_words(const pictor::Run& run)
{
    pictor::ReportOptions options;
    options.tokenizer = model_folder() / "tokenizer.json";
    pictor::LeftOut left_out;
    std::vector<pictor::LikelyWord> words;
    for (const auto& step : pictor::steps_json(run, options, left_out))
        if (step["step"] == 0)
            for (const auto& word : step["words"])
                words.push_back({word[0].get<std::string>(), word[1].get<double>()});
    return words;
}

std::string run_drawing(const ArchitectureCommand& command, pictor::ArchitectureOptions options)
{
    const pictor::Run run(command.trace);
    pictor::RunFacts facts{run, first_words(run), {}};
    if (!run.pictures().empty())
        facts.canvas = pictor::canvas_of(
            pictor::load_picture(command.picture.empty() ? run.picture_file(0) : command.picture),
            run.pictures().front().geometry, 440, 260);
    options.run = &facts;
    return pictor::architecture_drawing(pictor::sizes_of_run(run.trace()), options);
}

void add_architecture(CLI::App& app, ArchitectureCommand& command)
{
    CLI::App* sub =
        app.add_subcommand("architecture", "the diagram of a model: both pipelines with their true sizes");
    auto* model = sub->add_option("--model", command.model,
                                  "checkpoint folder (default: $PICTOR_MODEL, else models/pictor)");
    auto* config = sub->add_option("--config", command.config, "a config.json")->excludes(model);
    auto* preset =
        sub->add_option("--preset", command.preset, "11b or 90b: the released Llama 3.2-Vision models")
            ->excludes(model)
            ->excludes(config);
    auto* trace =
        sub->add_option("--trace", command.trace,
                        "trace folder: the diagram of that run, its words, picture and shapes in the boxes")
            ->excludes(model)
            ->excludes(config)
            ->excludes(preset);
    sub->add_option("--picture", command.picture, "picture file, when it is not where the trace says")
        ->needs(trace);
    auto* unfold = sub->add_flag("--unfold", command.unfold, "every layer a box of its own");
    sub->add_flag(
           "--corrections", command.corrections,
           "the popular diagram, with what is true beside what is commonly said (default: of the 11B model)")
        ->excludes(trace)
        ->excludes(unfold);
    sub->add_option("--style", command.style, "slide (16:9, large type) or article")
        ->check(CLI::IsMember({"slide", "article"}));
    sub->add_option("--output", command.output, "file ending in .svg, .png or .pdf")->capture_default_str();
    add_force(*sub, command.overwrite);
    sub->footer("Example: viz architecture --preset 11b --style slide --output mllama.pdf");
    sub->callback([&command] {
        const pictor::ArchitectureOptions options{command.style == "slide" ? pictor::DiagramStyle::slide
                                                                           : pictor::DiagramStyle::article,
                                                  command.unfold, command.output};
        pictor::write_drawing(
            command.corrections     ? pictor::corrections_drawing(chosen_sizes(command), options.style)
            : command.trace.empty() ? pictor::architecture_drawing(chosen_sizes(command), options)
                                    : run_drawing(command, options),
            command.output, command.overwrite);
        print_files({command.output});
    });
}

struct LayerCommand {
    std::filesystem::path trace, output;
    std::string layer, style = "article";
    std::int64_t step = 0;
    pictor::Overwrite overwrite = pictor::Overwrite::same_kind;
};

void add_layer(CLI::App& app, LayerCommand& command)
{
    CLI::App* sub = app.add_subcommand("layer", "the graph of one layer as it ran");
    sub->add_option("trace", command.trace, "trace folder")->required();
    sub->add_option("--layer", command.layer, "a text layer's number, vision.N or global.N")->required();
    sub->add_option("--step", command.step, "0 is the prefill, then each decode step (default: 0)");
    sub->add_option("--style", command.style, "slide (landscape, formulas) or article (statistics)")
        ->check(CLI::IsMember({"slide", "article"}));
    sub->add_option("--output", command.output,
                    "file ending in .svg, .png or .pdf (default: beside the trace, .svg)");
    add_force(*sub, command.overwrite);
    sub->footer("Example: viz layer traces/demo --layer 8 --output layer8.svg");
    sub->callback([&command] {
        const pictor::Trace trace(command.trace);
        const pictor::LayerChoice layer = pictor::choose_layer_graph(trace, command.layer);
        const auto style =
            command.style == "slide" ? pictor::DiagramStyle::slide : pictor::DiagramStyle::article;
        const auto output = command.output.empty()
                                ? pictor::beside_trace(command.trace, "layer-" + command.layer + ".svg")
                                : command.output;
        pictor::write_drawing(pictor::layer_drawing(trace, layer, command.step, output, style), output,
                              command.overwrite);
        print_files({output});
    });
}

void add_matrix(CLI::App& app, pictor::MatrixOptions& options)
{
    CLI::App* command = app.add_subcommand("matrix", "any tensor, or a part of one: a cell for each number");
    command->add_option("trace", options.trace, "trace folder")->required();
    command
        ->add_option("NAME", options.name,
                     "tensor, perhaps with a slice; at most two axes open: NAME[0,:,:8]")
        ->required();
    command->add_option("--step", options.step, "0 is the prefill, then each decode step (default: 0)");
    command->add_option("--beside", options.beside,
                        "another trace: the same numbers there, and the difference");
    command->add_option("--output", options.output,
                        "file ending in .svg, .png or .pdf (default: beside the trace)");
    add_force(*command, options.overwrite);
    command->footer(
        "Example: viz matrix traces/demo 'language_model.layers.0.self_attn.probs[0]' --output head0.png");
    command->callback([&options] { print_files({pictor::run_matrix(options)}); });
}

struct ReportCommand {
    std::filesystem::path trace, tokenizer;
    pictor::ReportOptions options;
    pictor::Overwrite overwrite = pictor::Overwrite::same_kind;
};

void add_report(CLI::App& app, ReportCommand& command)
{
    CLI::App* sub = app.add_subcommand("report", "one HTML file that shows the whole run, offline");
    sub->add_option("trace", command.trace, "trace folder")->required();
    sub->add_option("--output", command.options.output, "file ending in .html (default: beside the trace)");
    sub->add_option("--picture", command.options.picture,
                    "picture file, when it is not where the trace says");
    sub->add_option(
        "--tokenizer", command.options.tokenizer,
        "tokenizer.json, for next words that the run did not use (default: of $PICTOR_MODEL, else of "
        "models/pictor)");
    add_force(*sub, command.overwrite);
    sub->footer("Example: viz report traces/demo --output demo.html");
    sub->callback([&command] {
        pictor::ReportOptions& options = command.options;
        if (!options.picture.empty())
            pictor::load_picture(options.picture);  // what is asked for by name must be there
        if (!options.tokenizer.empty() && pictor::read_vocabulary(options.tokenizer).empty())
            throw std::runtime_error(options.tokenizer.string() +
                                     ": is no tokenizer.json with a byte-level vocabulary");
        if (options.tokenizer.empty())
            options.tokenizer = model_folder() / "tokenizer.json";
        if (options.output.empty())
            options.output = pictor::beside_trace(command.trace, "report.html");
        pictor::write_whole_file(options.output, pictor::report_page(pictor::Run(command.trace), options),
                                 command.overwrite);
        print_files({options.output});
    });
}

}  // namespace

int main(int argc, char** argv)
{
    std::signal(
        SIGXFSZ,
        SIG_IGN);  // a write past the limit on file sizes then fails, and what was half written is removed
    pictor::remove_temporaries_when_stopped();
    CLI::App app{"viz: pictures of a recorded run and of a model's architecture", "viz"};
    app.require_subcommand(1);
    app.footer(pictor::overwriting_rule);
    pictor::HeatmapOptions heatmap;
    add_heatmap(app, heatmap);
    ArchitectureCommand architecture;
    add_architecture(app, architecture);
    LayerCommand layer;
    add_layer(app, layer);
    pictor::MatrixOptions matrix;
    add_matrix(app, matrix);
    ReportCommand report;
    add_report(app, report);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() != 0) {
            fmt::print(stderr, "viz: {}\n", pictor::terminal_text(pictor::usage_error(app, error)));
            return 2;
        }
        app.exit(error);  // prints the help
    } catch (const std::exception& error) {
        fmt::print(stderr, "viz: {}\n", pictor::terminal_text(error.what()));
        return 2;
    }
    if (!std::cout.flush() || std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
        fmt::print(stderr, "viz: standard output: it could not be written\n");
        return 2;
    }
    return 0;
}
