// The program `trace`: looks into traces, finds where two of them part, and converts them.
#include <csignal>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/command_line.h"
#include "base/output_file.h"
#include "base/shown_text.h"
#include "base/temporary.h"
#include "trace/comparing/compare.h"
#include "trace/comparing/page.h"
#include "trace/converting/convert.h"
#include "trace/explaining/explain.h"
#include "trace/reading/show.h"
#include "trace/why/why.h"

namespace fs = std::filesystem;
using namespace pictor;

namespace {

constexpr int same = 0, different = 1, bad_input = 2;

// What the command line says; `run` is the command that it names.
struct Arguments {
    int (*run)(const Arguments&) = nullptr;
    std::string a, b, name, policy, html;
    double rtol = 1e-4, atol = 1e-4;
    bool json = false, no_explanation = false, all = false, tolerance_given = false;
    ExplainOptions explain;
    std::int64_t step = 0, depth = 1;
    CompareOptions compare;
    ConvertOptions convert;
};

Overwrite overwrite_of(const Arguments& arguments)
{
    return arguments.convert.force ? Overwrite::any_file : Overwrite::same_kind;
}

int show(const Arguments& arguments)
{
    const Trace trace(arguments.a);
    std::ostringstream text;  // a tensor that cannot be read in full is not shown in part
    if (arguments.name.empty())
        show_trace(text, trace, arguments.step, arguments.all);
    else
        show_tensor(text, trace, arguments.name, arguments.step);
    std::cout << terminal_text(text.str());
    return same;
}

int compare(const Arguments& arguments)
{
    const Trace a(arguments.a), b(arguments.b);
    Comparison comparison = compare_traces(a, b, arguments.compare);
    if (!arguments.no_explanation)
        comparison.explanation =
            std::make_shared<const Explanation>(explain(comparison, a, b, arguments.explain));
    if (!arguments.html.empty()) {
        write_whole_file(arguments.html, comparison_page(comparison, a, b, arguments.compare),
                         overwrite_of(arguments));
    }
    std::ostringstream text;  // names and words in it come from the traces
    if (arguments.json)
        std::cout
            << comparison_json(comparison, a, b).dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
            << "\n";
    else
        print_comparison(text, comparison, a, b, arguments.compare);
    std::cout << terminal_text(text.str());
    return comparison.same ? same : different;
}

int diff(const Arguments& given)
{
    Arguments arguments = given;
    if (!(arguments.rtol >= 0) || !(arguments.atol >= 0))
        throw std::runtime_error("--rtol and --atol: want numbers of 0 or more");
    if (!arguments.policy.empty())
        arguments.compare.policy = Policy(fs::path(arguments.policy));
    else if (arguments.tolerance_given)
        arguments.compare.policy = Policy(Tolerance{arguments.atol, arguments.rtol});
    return compare(arguments);
}

int check(const Arguments& given)
{
    Arguments arguments = given;
    const fs::path beside = fs::path(arguments.b) / "policy.json";
    if (!arguments.policy.empty())
        arguments.compare.policy = Policy(fs::path(arguments.policy));
    else if (fs::exists(beside))
        arguments.compare.policy = Policy(beside);
    arguments.no_explanation = true;
    arguments.compare.extra_is_fine = true;
    arguments.compare.generated = true;
    return compare(arguments);
}

// The weights that a question may need: --model, else the shipped model where the trace was made with it.
std::unique_ptr<const ModelWeights> weights_for(const Trace& trace, const fs::path& model)
{
    constexpr std::int64_t largest = 1 << 27;
    const fs::path folder = model.empty() ? shipped_model_of(trace) : model;
    if (folder.empty())
        return nullptr;
    auto weights = std::make_unique<const ModelWeights>(folder, largest);
    check_model_of(trace, *weights);
    return weights;
}

int why(const Arguments& arguments)
{
    const Trace trace(arguments.a);
    const std::unique_ptr<const ModelWeights> weights = weights_for(trace, arguments.explain.model);
    const WhyRun run(trace, weights.get());
    const Answer answer = answer_why(run, parse_ask(run, arguments.name, arguments.step), arguments.depth);
    if (!answer.untold.empty())
        throw std::runtime_error(
            fmt::format("{}: {}: {}", trace.folder().string(), ask_text(answer.ask), answer.untold));
    if (!arguments.html.empty()) {
        write_whole_file(arguments.html, answer_page(answer, trace.folder().string()),
                         overwrite_of(arguments));
    }
    std::ostringstream text;
    if (arguments.json)
        std::cout << answer_json(answer).dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
                  << "\n";
    else
        print_answer(text, answer);
    std::cout << terminal_text(text.str());
    return same;
}

int convert(const Arguments& arguments)
{
    for (const std::string& note : pictor::convert(arguments.a, arguments.b, arguments.convert))
        std::cerr << "trace: " << terminal_text(note) << "\n";
    return same;
}

void add_show(CLI::App& app, Arguments& arguments)
{
    CLI::App* const command = app.add_subcommand("show", "an overview, or one tensor");
    command->add_option("DIR", arguments.a, "trace folder")->required();
    command->add_option("NAME", arguments.name, "tensor, perhaps with a slice: lm_head[-1,:8]");
    command->add_option("--step", arguments.step, "0 is the prefill");
    command->add_flag("--all", arguments.all, "every tensor of every layer, not one line a stack of layers");
    command->footer("Example: trace show run/ 'language_model.layers.3.cross_attn.probs[0,3,:8]'");
    command->callback([&arguments] { arguments.run = show; });
}

void add_why(CLI::App& app, Arguments& arguments)
{
    CLI::App* const command =
        app.add_subcommand("why", "what made one number: its inputs and weights, largest terms first");
    command->add_option("TRACE", arguments.a, "trace folder")->required();
    command
        ->add_option("NAME[INDEX]", arguments.name,
                     "one number; axes left out or ':' stand for the largest there, -1 is the last; "
                     "or a word of the answer: the logit that chose it")
        ->required();
    command->add_option("--step", arguments.step, "0 is the prefill");
    command->add_option("--depth", arguments.depth, "follow the largest term back so many times")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    command->add_option(
        "--model", arguments.explain.model,
        "checkpoint folder, for what takes weights (default: the shipped model, if it is the trace's)");
    command->add_flag("--json", arguments.json, "the answer as JSON");
    command->add_option("--html", arguments.html, "the answer as one page, into this file");
    command->add_flag("--force", arguments.convert.force, "replace whatever file --html names");
    command->footer(
        "Example: trace why run/ fish --depth 3   (why this word of the answer?)\n"
        "         trace why run/ 'language_model.layers.3.cross_attn.probs[0,-1]'   (why this patch?)");
    command->callback([&arguments] { arguments.run = why; });
}

void add_diff(CLI::App& app, Arguments& arguments)
{
    CLI::App* const command =
        app.add_subcommand("diff", "the first tensor that differs, in the order of computation");
    command->add_option("A", arguments.a, "trace folder")->required();
    command->add_option("B", arguments.b, "trace folder; ok = |a - b| <= atol + rtol x |b|")->required();
    CLI::Option* const rtol =
        command->add_option("--rtol", arguments.rtol, "relative tolerance")->capture_default_str();
    CLI::Option* const atol =
        command->add_option("--atol", arguments.atol, "absolute tolerance")->capture_default_str();
    command->add_option("--policy", arguments.policy, "JSON file {\"GLOB\": {\"atol\": A, \"rtol\": R}, ...}")
        ->excludes(rtol)
        ->excludes(atol);
    command
        ->add_option(
            "--dtype", arguments.compare.dtype,
            "what both are meant to compute in: f32, bf16 or f16 (default: the first numbers of each run)")
        ->transform(CLI::CheckedTransformer(
            std::map<std::string, std::string>{{"f32", "F32"}, {"bf16", "BF16"}, {"f16", "F16"}},
            CLI::ignore_case));
    command->add_flag("--common", arguments.compare.common,
                      "ignore tensors that one side lacks (they are named)");
    command->add_flag("--flat", arguments.compare.flat,
                      "compare other shapes of as many numbers in row-major order");
    command
        ->add_option("--only", arguments.compare.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    command->add_option("--model", arguments.explain.model,
                        "checkpoint folder: linear layers are computed again with its weights");
    command->add_flag("--no-explanation", arguments.no_explanation,
                      "compare only: do not compute steps again to tell faults from what follows");
    command->add_flag("--json", arguments.json, "the result as JSON");
    command->add_option("--html", arguments.html,
                        "the result as one page, into this file (beside what is printed)");
    command->add_flag("--force", arguments.convert.force, "replace whatever file --html names");
    command->footer(
        "Example: trace diff mine/ theirs/ --rtol 1e-3 --only 'language_model.*' --model checkpoint/");
    command->callback([&arguments, rtol, atol] {
        arguments.tolerance_given = rtol->count() + atol->count() > 0;
        arguments.run = diff;
    });
}

void add_check(CLI::App& app, Arguments& arguments)
{
    CLI::App* const command =
        app.add_subcommand("check", "whether a run has every tensor of a golden trace, and agrees");
    command->add_option("RUN", arguments.a, "trace folder")->required();
    command->add_option("GOLDEN", arguments.b, "trace folder; its policy.json, if any, holds the tolerances")
        ->required();
    command->add_option("--policy", arguments.policy,
                        "JSON file {\"GLOB\": {\"atol\": A, \"rtol\": R}, ...}");
    command
        ->add_option("--only", arguments.compare.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    command->add_flag("--json", arguments.json, "the result as JSON");
    command->footer("Example: trace check run/ golden/");
    command->callback([&arguments] { arguments.run = check; });
}

void add_convert(CLI::App& app, Arguments& arguments)
{
    CLI::App* const command = app.add_subcommand("convert", "from and to other programs' files");
    command
        ->add_option("IN", arguments.a,
                     "FILE.safetensors, folder of .npy files, transformers' debugger JSON, or trace")
        ->required();
    command
        ->add_option("OUT", arguments.b,
                     "FILE.safetensors; else a trace, or from a trace a folder of .npy files")
        ->required();
    command->add_option("--to", arguments.convert.to, "trace, safetensors or npy, whatever the names")
        ->check(CLI::IsMember({"trace", "safetensors", "npy"}));
    command
        ->add_option("--only", arguments.convert.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    command->add_flag("--squeeze", arguments.convert.squeeze,
                      "drop leading axes of extent 1, such as a batch");
    command->add_flag("--force", arguments.convert.force, "replace OUT once the new one is complete");
    command->footer("Example: trace convert debug/Model_debug_tree_FULL_TENSORS.json theirs/ --squeeze");
    command->callback([&arguments] { arguments.run = convert; });
}

int run(int argc, char** argv)
{
    CLI::App app("Looks into traces, finds the first tensor where two differ, converts them.", "trace");
    app.require_subcommand(1);
    app.footer("Exit: 0 fine, 1 a difference was found, 2 bad usage or bad input.\n" +
               std::string(overwriting_rule) + "\nExample: trace diff mine/ theirs/");
    Arguments arguments;
    add_show(app, arguments);
    add_why(app, arguments);
    add_diff(app, arguments);
    add_check(app, arguments);
    add_convert(app, arguments);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
            return app.exit(error);
        std::cerr << "trace: " << terminal_text(usage_error(app, error)) << "\n";
        return bad_input;
    }
    return arguments.run(arguments);
}

}  // namespace

int main(int argc, char** argv)
{
    // A write past the limit on file sizes then fails, and what was half written is removed.
    std::signal(SIGXFSZ, SIG_IGN);
    remove_temporaries_when_stopped();
    try {
        const int result = run(argc, argv);
        std::cout.flush();
        if (!std::cout)
            throw std::runtime_error("standard output: cannot be written");
        return result;
    } catch (const std::exception& error) {
        std::cerr << "trace: " << terminal_text(error.what()) << "\n";
        return bad_input;
    }
}
