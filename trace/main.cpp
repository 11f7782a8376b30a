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

struct Arguments {
    std::string a, b, name, policy, html;
    double rtol = 1e-4, atol = 1e-4;
    bool json = false, no_explanation = false, all = false;
    ExplainOptions explain;
    std::int64_t step = 0, depth = 1;
    CompareOptions compare;
    ConvertOptions convert;
};

int show(const Arguments& arguments)
{
    const Trace trace(arguments.a);
    std::ostringstream text;  // a tensor that cannot be read in full is not shown in part
    if (arguments.name.empty())
        show_trace(text, trace, arguments.step, arguments.all);
    else
        show_tensor(text, trace, arguments.name, arguments.step);
    std::cout << text.str();
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
        OutputFile file{fs::path(arguments.html)};
        file.write(comparison_page(comparison, a, b, arguments.compare));
        file.close();
    }
    if (arguments.json)
        std::cout
            << comparison_json(comparison, a, b).dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
            << "\n";
    else
        print_comparison(std::cout, comparison, a, b, arguments.compare);
    return comparison.same ? same : different;
}

int diff(Arguments arguments, bool tolerance_given)
{
    if (!(arguments.rtol >= 0) || !(arguments.atol >= 0))
        throw std::runtime_error("--rtol and --atol: want numbers of 0 or more");
    if (!arguments.policy.empty())
        arguments.compare.policy = Policy(fs::path(arguments.policy));
    else if (tolerance_given)
        arguments.compare.policy = Policy(Tolerance{arguments.atol, arguments.rtol});
    return compare(arguments);
}

int check(Arguments arguments)
{
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
        OutputFile file{fs::path(arguments.html)};
        file.write(answer_page(answer, trace.folder().string()));
        file.close();
    }
    if (arguments.json)
        std::cout << answer_json(answer).dump(1, ' ', false, nlohmann::json::error_handler_t::replace)
                  << "\n";
    else
        print_answer(std::cout, answer);
    return same;
}

int convert(const Arguments& arguments)
{
    for (const std::string& note : pictor::convert(arguments.a, arguments.b, arguments.convert))
        std::cerr << "trace: " << note << "\n";
    return same;
}

int run(int argc, char** argv)
{
    CLI::App app("Looks into traces, finds the first tensor where two part, converts them.", "trace");
    app.require_subcommand(1);
    app.footer(
        "Exit: 0 fine, 1 a difference was found, 2 bad usage or bad input.\nExample: trace diff mine/ theirs/");
    Arguments arguments;

    CLI::App* const show_command = app.add_subcommand("show", "an overview, or one tensor");
    show_command->add_option("DIR", arguments.a, "trace folder")->required();
    show_command->add_option("NAME", arguments.name, "tensor, perhaps with a slice: lm_head[-1,:8]");
    show_command->add_option("--step", arguments.step, "0 is the prefill");
    show_command->add_flag("--all", arguments.all,
                           "every tensor of every layer, not one line a stack of layers");
    show_command->footer("Example: trace show run/ 'language_model.layers.3.cross_attn.probs[0,3,:8]'");

    CLI::App* const why_command =
        app.add_subcommand("why", "what made one number: its inputs and weights, largest terms first");
    why_command->add_option("TRACE", arguments.a, "trace folder")->required();
    why_command
        ->add_option("NAME[INDEX]", arguments.name,
                     "one number; axes left out or ':' stand for the largest there, -1 is the last; "
                     "or a word of the answer: the logit that chose it")
        ->required();
    why_command->add_option("--step", arguments.step, "0 is the prefill");
    why_command->add_option("--depth", arguments.depth, "follow the largest term back so many times")
        ->check(CLI::Range(1, 100))
        ->capture_default_str();
    why_command->add_option(
        "--model", arguments.explain.model,
        "checkpoint folder, for what takes weights (default: the shipped model, if it is the trace's)");
    why_command->add_flag("--json", arguments.json, "the answer as JSON");
    why_command->add_option("--html", arguments.html, "the answer as one page, into this file");
    why_command->footer(
        "Example: trace why run/ fish --depth 3   (why this word of the answer?)\n"
        "         trace why run/ 'language_model.layers.3.cross_attn.probs[0,-1]'   (why this patch?)");

    CLI::App* const diff_command =
        app.add_subcommand("diff", "the first tensor that differs, in the order of computation");
    diff_command->add_option("A", arguments.a, "trace folder")->required();
    diff_command->add_option("B", arguments.b, "trace folder; ok = |a - b| <= atol + rtol x |b|")->required();
    CLI::Option* const rtol =
        diff_command->add_option("--rtol", arguments.rtol, "relative tolerance")->capture_default_str();
    CLI::Option* const atol =
        diff_command->add_option("--atol", arguments.atol, "absolute tolerance")->capture_default_str();
    diff_command
        ->add_option("--policy", arguments.policy, "JSON file {\"GLOB\": {\"atol\": A, \"rtol\": R}, ...}")
        ->excludes(rtol)
        ->excludes(atol);
    diff_command
        ->add_option(
            "--dtype", arguments.compare.dtype,
            "what both are meant to compute in: f32, bf16 or f16 (default: the first numbers of each run)")
        ->transform(CLI::CheckedTransformer(
            std::map<std::string, std::string>{{"f32", "F32"}, {"bf16", "BF16"}, {"f16", "F16"}},
            CLI::ignore_case));
    diff_command->add_flag("--common", arguments.compare.common,
                           "ignore tensors that one side lacks (they are named)");
    diff_command->add_flag("--flat", arguments.compare.flat,
                           "compare other shapes of as many numbers in row-major order");
    diff_command
        ->add_option("--only", arguments.compare.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    diff_command->add_option("--model", arguments.explain.model,
                             "checkpoint folder: linear layers are computed again with its weights");
    diff_command->add_flag("--no-explanation", arguments.no_explanation,
                           "compare only: do not compute steps again to tell faults from what follows");
    diff_command->add_flag("--json", arguments.json, "the result as JSON");
    diff_command->add_option("--html", arguments.html,
                             "the result as one page, into this file (beside what is printed)");
    diff_command->footer(
        "Example: trace diff mine/ theirs/ --rtol 1e-3 --only 'language_model.*' --model checkpoint/");

    CLI::App* const check_command =
        app.add_subcommand("check", "whether a run has every tensor of a golden trace, and agrees");
    check_command->add_option("RUN", arguments.a, "trace folder")->required();
    check_command
        ->add_option("GOLDEN", arguments.b, "trace folder; its policy.json, if any, holds the tolerances")
        ->required();
    check_command->add_option("--policy", arguments.policy,
                              "JSON file {\"GLOB\": {\"atol\": A, \"rtol\": R}, ...}");
    check_command
        ->add_option("--only", arguments.compare.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    check_command->add_flag("--json", arguments.json, "the result as JSON");
    check_command->footer("Example: trace check run/ golden/");

    CLI::App* const convert_command = app.add_subcommand("convert", "from and to other programs' files");
    convert_command
        ->add_option("IN", arguments.a,
                     "FILE.safetensors, folder of .npy files, transformers' debugger JSON, or trace")
        ->required();
    convert_command
        ->add_option("OUT", arguments.b,
                     "FILE.safetensors; else a trace, or from a trace a folder of .npy files")
        ->required();
    convert_command->add_option("--to", arguments.convert.to, "trace, safetensors or npy, whatever the names")
        ->check(CLI::IsMember({"trace", "safetensors", "npy"}));
    convert_command
        ->add_option("--only", arguments.convert.only,
                     "only tensors whose names match this glob; may be repeated")
        ->expected(1)
        ->take_all();
    convert_command->add_flag("--squeeze", arguments.convert.squeeze,
                              "drop leading axes of extent 1, such as a batch");
    convert_command->add_flag("--force", arguments.convert.force, "replace OUT once the new one is complete");
    convert_command->footer(
        "Example: trace convert debug/Model_debug_tree_FULL_TENSORS.json theirs/ --squeeze");

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
            return app.exit(error);
        std::cerr << "trace: " << usage_error(app, error) << "\n";
        return bad_input;
    }
    if (show_command->parsed())
        return show(arguments);
    if (diff_command->parsed())
        return diff(arguments, rtol->count() + atol->count() > 0);
    if (why_command->parsed())
        return why(arguments);
    if (check_command->parsed())
        return check(arguments);
    return convert(arguments);
}

}  // namespace

int main(int argc, char** argv)
{
    std::signal(
        SIGXFSZ,
        SIG_IGN);  // a write past the limit on file sizes then fails, and what was half written is removed
    try {
        const int result = run(argc, argv);
        std::cout.flush();
        if (!std::cout)
            throw std::runtime_error("standard output: cannot be written");
        return result;
    } catch (const std::exception& error) {
        std::cerr << "trace: " << error.what() << "\n";
        return bad_input;
    }
}
