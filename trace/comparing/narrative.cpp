#include "trace/comparing/narrative.h"

#include <algorithm>
#include <cmath>
#include <ostream>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/explain.h"
#include "trace/graph/operations.h"

using nlohmann::json;

namespace pictor {
namespace {

std::string size_text(const TensorComparison& tensor)
{
    return std::isfinite(tensor.relative_rms) ? fmt::format("{:.2g}", tensor.relative_rms) : "infinite";
}

json cause_json(const Cause& cause)
{
    const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
    return {{"name", cause.name.text()},
            {"text", cause.text},
            {"tensor", cause.tensor},
            {"step", cause.step},
            {"before", number(cause.before)},
            {"after", number(cause.after)},
            {"also", cause.also}};
}

json tested_json(const std::vector<Tested>& tested)
{
    json result = json::array();
    const auto number = [](double value) {
        return std::isfinite(value) && value >= 0 ? json(value) : json(nullptr);
    };
    for (const Tested& each : tested)
        result.push_back({{"rule", each.rule},
                          {"cause", each.cause.text()},
                          {"a", number(each.a)},
                          {"b", number(each.b)}});
    return result;
}

}  // namespace

std::vector<GrowthPoint> growth_of(const Comparison& comparison)
{
    std::vector<GrowthPoint> points;
    for (const TensorComparison& tensor : comparison.tensors) {
        const Operation* const operation =
            find_operation(tensor.name, [](const std::string&) { return false; });
        if (tensor.compared > 0 && operation && operation->state)
            points.push_back({&tensor});
    }
    return points;
}

std::string growth_text(const Comparison& comparison)
{
    if (comparison.first_different < 0)
        return "";
    const TensorComparison& first = at(comparison.tensors, comparison.first_different);
    const TensorComparison* before = nullptr;  // the largest error of a state before the first difference
    std::vector<const TensorComparison*> after;
    for (const GrowthPoint& point : growth_of(comparison)) {
        if (point.tensor < &first && (!before || point.tensor->relative_rms > before->relative_rms))
            before = point.tensor;
        if (point.tensor > &first)
            after.push_back(point.tensor);
    }
    std::string text =
        "  In units of each tensor's own spread (root mean square error by standard deviation):\n";
    if (before && before->relative_rms == 0)
        text += "  up to there the states between the layers are the same numbers;\n";
    else if (before)
        text += fmt::format("  up to there no state is further off than {} ({});\n", size_text(*before),
                            before->name);
    const bool jump = before && before->relative_rms > 0 && std::isfinite(first.relative_rms);
    text += fmt::format(
        "  at {} it is {}{};\n", first.name, size_text(first),
        jump ? fmt::format(", {:.2g} times as much", first.relative_rms / before->relative_rms) : "");
    constexpr std::size_t shown = 6;
    const std::size_t stride = std::max<std::size_t>(1, (after.size() + shown - 1) / shown);
    for (std::size_t i = 0; i < after.size(); i += stride)
        text += fmt::format("  {}{} at {}{}", i == 0 ? "then " : "", size_text(*after[i]), after[i]->name,
                            after[i]->step > 0 ? fmt::format(" (step {})", after[i]->step) : "") +
                (i + stride < after.size() ? ",\n" : "");
    if (!after.empty() && (after.size() - 1) % stride != 0)
        text += fmt::format(",\n  {} at {}, the last{}", size_text(*after.back()), after.back()->name,
                            after.back()->step > 0 ? fmt::format(" (step {})", after.back()->step) : "");
    return text + (after.empty() ? "  nothing comes after it.\n" : ".\n");
}

std::string allowance_text(const Comparison& comparison, bool built_in)
{
    if (comparison.rounding != "BF16" && comparison.rounding != "F16")
        return "";
    const double unit = unit_roundoff(comparison.rounding);
    std::string text = fmt::format("One of the two keeps numbers in {}, whose unit of roundoff is {:.2g}",
                                   comparison.rounding, unit);
    if (built_in)
        text += fmt::format(
            ": allowed is {:.2g} x each tensor's standard deviation (96 units; rounding alone\ncame to at "
            "most 63 on the golden cases) and {:.2g} x |b| (8 units)",
            96 * unit, 8 * unit);
    if (comparison.explanation)
        text += ".\nWhatever the tolerance, each step that can be recomputed was checked to a few units of "
                "roundoff of its own inputs";
    return text + ".";
}

// The faults in order, what is behind each, and whether the rest follows from them.
void print_explanation(std::ostream& out, const Explanation& explanation, const Comparison& comparison)
{
    constexpr std::size_t faults_shown = 8;
    if (explanation.of_tensor.empty())
        return;
    if (explanation.faults.empty())
        out << "\nNo step differs, as far as the recorded tensors show\n";
    for (std::size_t i = 0; i < std::min(explanation.faults.size(), faults_shown); ++i) {
        const Fault& fault = explanation.faults[i];
        const TensorComparison& tensor = at(comparison.tensors, fault.index);
        const std::string more =
            fault.also.empty() ? "" : fmt::format(" (and {} more of its kind)", fault.also.size());
        out << fmt::format("\n{}: step {}, {}{}\n",
                           i == 0 ? "Fault"
                                  : fmt::format("Fault {}, not explained by those before it", i + 1),
                           tensor.step, tensor.name, more);
        if (fault.cause >= 0)
            out << fmt::format("  likely cause: {}\n", at(explanation.causes, fault.cause).name.text());
        out << fmt::format("  {}\n", fault.text);
    }
    if (explanation.faults.size() > faults_shown)
        out << fmt::format("... and {} more faults\n", explanation.faults.size() - faults_shown);
    out << fmt::format(
        "\nOf {} tensors that differ, {} follow from their own inputs (recomputed from each trace's numbers)",
        explanation.of_tensor.size(), explanation.count(Verdict::explained));
    if (const std::int64_t likely = explanation.count(Verdict::likely); likely > 0)
        out << fmt::format(
            ", {} only propagate an earlier error (linear layers; --model DIR recomputes them)", likely);
    out << fmt::format(", {} are faults", explanation.count(Verdict::fault));
    if (const std::int64_t unknown = explanation.count(Verdict::unknown); unknown > 0)
        out << fmt::format(", {} cannot be judged from the traces", unknown);
    out << "\n";
}

// Which steps the two do differently, and of what each later difference is the consequence.
void add_explanation(const Explanation& explanation, const Comparison& comparison, json& tensors,
                     json& result)
{
    for (const auto& [index, judgement] : explanation.of_tensor) {
        json& tensor = at(tensors, index);
        tensor["verdict"] = verdict_text(judgement.verdict);
        tensor["why"] = judgement.text;
    }
    result["causes"] = json::array();
    for (const Cause& cause : explanation.causes)
        result["causes"].push_back(cause_json(cause));
    result["faults"] = json::array();
    for (const Fault& fault : explanation.faults) {
        const TensorComparison& tensor = at(comparison.tensors, fault.index);
        json also = json::array();
        for (std::int64_t index : fault.also)
            also.push_back(
                {{"name", at(comparison.tensors, index).name}, {"step", at(comparison.tensors, index).step}});
        result["faults"].push_back({{"name", tensor.name},
                                    {"step", tensor.step},
                                    {"text", fault.text},
                                    {"also", also},
                                    {"cause", nullptr},
                                    {"tested", tested_json(explanation.of_tensor.at(fault.index).tested)}});
        if (fault.cause >= 0)
            result["faults"].back()["cause"] = at(explanation.causes, fault.cause).name.text();
    }
    result["explained"] = {{"computed_again", explanation.count(Verdict::explained)},
                           {"passed_on", explanation.count(Verdict::likely)},
                           {"faults", explanation.count(Verdict::fault)},
                           {"unknown", explanation.count(Verdict::unknown)},
                           {"with_weights", explanation.with_weights}};
}

}  // namespace pictor
