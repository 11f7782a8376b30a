// viz: pictures of a recorded run and of a model's architecture.
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "viz/heatmap_command.h"

namespace {

void print_files(const std::vector<std::filesystem::path>& files)
{
    for (const auto& file : files)
        if (file != "-")
            fmt::print("{}\n", file.string());
}

void add_heatmap(CLI::App& app, pictor::HeatmapOptions& options)
{
    CLI::App* command = app.add_subcommand("heatmap", "where cross-attention looked before a word, over the picture");
    command->add_option("trace", options.trace, "trace folder")->required();
    command->add_option("--layer", options.layer, "cross-attention layer (default: the last)");
    command->add_option("--head", options.head, "a number, mean, max, or entropy (default: mean)");
    command->add_option("--token", options.token, "a word, or its index in prompt and answer together (default: the answer's most pointed word)");
    command->add_option("--image", options.image, "which picture, from 0 (default: the one read most)");
    command->add_option("--picture", options.picture, "picture file, when it is not where the trace says");
    command->add_option("--weight", options.weight, "attention, or values: times the norm of the value it moves and |tanh(gate)|");
    command->add_option("--minus", options.minus, "another trace: draw the difference");
    command->add_flag("--smooth", options.smooth, "smooth between patch centres");
    command->add_option("--output", options.output, "file ending in .png, .svg, .pdf or .json (the numbers); default: beside the trace");
    command->footer("Example: viz heatmap traces/demo --layer 8 --token star --output star.png");
    command->callback([&options] { print_files(pictor::run_heatmap(options)); });
}

}  // namespace

int main(int argc, char** argv)
{
    CLI::App app{"viz: pictures of a recorded run and of a model's architecture", "viz"};
    app.require_subcommand(1);
    pictor::HeatmapOptions heatmap;
    add_heatmap(app, heatmap);
    try {
        app.parse(argc, argv);
        return 0;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0)
            return app.exit(error);
        fmt::print(stderr, "viz: {}\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "viz: {}\n", error.what());
        return 2;
    }
}
