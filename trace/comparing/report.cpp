// What compare.cpp found, for people and for programs.
#include <algorithm>
#include <cmath>
#include <ostream>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/comparing/compare.h"
#include "trace/comparing/narrative.h"
#include "trace/explaining/explain.h"
#include "trace/reading/places.h"

using nlohmann::json;

namespace pictor {
namespace {

constexpr std::int64_t rows_before = 4, rows_after = 8;
constexpr std::size_t names_shown = 8;

std::string axes_text(const TraceEntry& entry)
{
    std::string text;
    for (std::size_t axis = 0; axis < entry.axes.size(); ++axis)
        text += fmt::format("{}{} {}", axis == 0 ? "" : ", ", entry.axes[axis], entry.shape[axis]);
    return "[" + text + "]";
}

std::string relative_text(const TensorComparison& tensor)
{
    return std::isfinite(tensor.relative_error) ? fmt::format("{:.2g}", tensor.relative_error) : "-";
}

void print_element(std::ostream& out, const char* word, const ElementPair& element,
                   const TensorComparison& tensor, const Places& places)
{
    out << fmt::format("  {:<6} at [{}]: {}\n", word,
                       fmt::join(unravel(element.position, naming_entry(tensor).shape), ", "),
                       places.describe(naming_entry(tensor), element.position));
    out << fmt::format("         a {:.9g}   b {:.9g}   apart {:.3g}\n", element.a, element.b,
                       std::fabs(element.a - element.b));
}

void print_first(std::ostream& out, const TensorComparison& tensor, const Trace& a, const Trace& b)
{
    const Places places(tensor.named_by_b ? b : a);
    out << fmt::format("First difference: step {}, {} {}\n", tensor.step, tensor.name,
                       axes_text(naming_entry(tensor)));
    if (!tensor.problem.empty())
        out << "  " << tensor.problem << "\n";
    if (tensor.off > 0) {
        out << fmt::format("  {} of {} numbers{} are further apart than {:g} + {:g} x |b|\n", tensor.off,
                           tensor.compared, tensor.how == "sample" ? " (a sample)" : "",
                           tensor.tolerance.atol, tensor.tolerance.rtol);
        print_element(out, "worst", tensor.worst, tensor, places);
        print_element(out, "first", tensor.first, tensor, places);
        out << fmt::format("  the worst error is {} x the standard deviation of the tensor\n",
                           relative_text(tensor));
    }
    if (!tensor.a->source.empty())
        out << fmt::format("  computed at {} (a)\n", tensor.a->source);
    if (!tensor.b->source.empty())
        out << fmt::format("  computed at {} (b)\n", tensor.b->source);
}

void print_neighbours(std::ostream& out, const Comparison& comparison)
{
    const auto count = static_cast<std::int64_t>(comparison.tensors.size());
    const std::int64_t from = std::max<std::int64_t>(0, comparison.first_different - rows_before);
    const std::int64_t to = std::min(count, comparison.first_different + rows_after + 1);
    std::size_t width = 6;
    for (std::int64_t i = from; i < to; ++i)
        width = std::max(width, at(comparison.tensors, i).name.size());
    out << fmt::format("\nAround it\n    step  {:<{}}  max error  error/std  numbers off\n", "tensor", width);
    for (std::int64_t i = from; i < to; ++i) {
        const TensorComparison& tensor = at(comparison.tensors, i);
        const std::string numbers = tensor.how.empty() ? tensor.problem
                                    : tensor.how == "statistics"
                                        ? "statistics only"
                                        : fmt::format("{} of {}{}", tensor.off, tensor.compared,
                                                      tensor.how == "sample" ? " (sample)" : "");
        out << fmt::format("{} {:>5}  {:<{}}  {:>9.3g}  {:>9}  {}\n",
                           i == comparison.first_different ? "->"
                           : tensor.same                   ? "  "
                                                           : " x",
                           tensor.step, tensor.name, width, tensor.max_error, relative_text(tensor), numbers);
    }
}

void print_missing(std::ostream& out, const std::vector<const TraceEntry*>& entries, const std::string& where,
                   bool fine)
{
    if (entries.empty())
        return;
    out << fmt::format("{} {} only in {}{}:", entries.size(),
                       entries.size() == 1 ? "tensor is" : "tensors are", where, fine ? " (ignored)" : "");
    for (std::size_t i = 0; i < std::min(entries.size(), names_shown); ++i)
        out << fmt::format("{} {}{}", i == 0 ? "" : ",", entries[i]->name,
                           entries[i]->step > 0 ? fmt::format(" (step {})", entries[i]->step) : "");
    out << (entries.size() > names_shown ? ", ...\n" : "\n");
}

// Of one side's tensors those whose step the other trace has too, or those whose step it lacks.
std::vector<const TraceEntry*> within_steps(const std::vector<const TraceEntry*>& entries, const Trace& other,
                                            bool wanted)
{
    std::vector<const TraceEntry*> found;
    for (const TraceEntry* entry : entries)
        if ((entry->step < static_cast<std::int64_t>(other.steps().size())) == wanted)
            found.push_back(entry);
    return found;
}

json element_json(const ElementPair& element, const TensorComparison& tensor, const Places& places)
{
    const auto number = [](double value) {
        return std::isfinite(value) ? json(value) : json(fmt::format("{}", value));
    };
    return {{"index", unravel(element.position, naming_entry(tensor).shape)},
            {"place", places.describe(naming_entry(tensor), element.position)},
            {"a", number(element.a)},
            {"b", number(element.b)}};
}

json tensor_json(const TensorComparison& tensor, const Places& places)
{
    const auto number = [](double value) { return std::isfinite(value) ? json(value) : json(nullptr); };
    json result{{"name", tensor.name},
                {"step", tensor.step},
                {"same", tensor.same},
                {"compared_by", tensor.how},
                {"compared", tensor.compared},
                {"off", tensor.off},
                {"max_error", number(tensor.max_error)},
                {"relative_error", number(tensor.relative_error)},
                {"relative_rms", number(tensor.relative_rms)},
                {"rounding", tensor.rounding},
                {"tolerance", {{"atol", tensor.tolerance.atol}, {"rtol", tensor.tolerance.rtol}}}};
    if (!tensor.problem.empty())
        result["problem"] = tensor.problem;
    if (tensor.off > 0) {
        result["worst"] = element_json(tensor.worst, tensor, places);
        result["first"] = element_json(tensor.first, tensor, places);
    }
    return result;
}

json names_json(const std::vector<const TraceEntry*>& entries)
{
    json names = json::array();
    for (const TraceEntry* entry : entries)
        names.push_back({{"name", entry->name}, {"step", entry->step}});
    return names;
}

}  // namespace

void print_comparison(std::ostream& out, const Comparison& comparison, const Trace& a, const Trace& b,
                      const CompareOptions& options)
{
    std::int64_t different = 0, by_statistics = 0, by_sample = 0;
    for (const TensorComparison& tensor : comparison.tensors) {
        different += !tensor.same;
        by_statistics += tensor.how == "statistics";
        by_sample += tensor.how == "sample";
    }
    const bool a_may_have_more = options.common || options.extra_is_fine;
    // What one side lacks of a step that both have comes first; whole steps more are said at the end.
    if (!a_may_have_more)
        print_missing(out, within_steps(comparison.only_a, b, true), a.folder().string(), false);
    if (!options.common)
        print_missing(out, within_steps(comparison.only_b, a, true), b.folder().string(), false);
    if (comparison.first_different >= 0) {
        print_first(out, at(comparison.tensors, comparison.first_different), a, b);
        print_neighbours(out, comparison);
        out << "\nHow the error grew\n" << growth_text(comparison);
        if (comparison.explanation)
            print_explanation(out, *comparison.explanation, comparison);
        out << "\n";
    }
    print_missing(out, a_may_have_more ? comparison.only_a : within_steps(comparison.only_a, b, false),
                  a.folder().string(), a_may_have_more);
    print_missing(out, options.common ? comparison.only_b : within_steps(comparison.only_b, a, false),
                  b.folder().string(), options.common);
    for (const std::string& note : comparison.notes)
        out << note << "\n";
    if (!comparison.generated_problem.empty())
        out << comparison.generated_problem << "\n";
    if (const std::string allowed = allowance_text(comparison, options.policy.is_built_in());
        !allowed.empty())
        out << allowed << "\n";
    if (by_sample > 0)
        out << fmt::format("{} tensors were compared on a sample of their numbers\n", by_sample);
    if (by_statistics > 0)
        out << fmt::format("{} tensors were compared by their statistics only\n", by_statistics);
    const std::string within = comparison.rounding == "F32" ? "" : " within " + comparison.rounding;
    out << fmt::format("{}: {} tensors compared, {} differ\n",
                       comparison.same ? "same" + within : "different", comparison.tensors.size(), different);
}

json comparison_json(const Comparison& comparison, const Trace& a, const Trace& b)
{
    const Places places_a(a), places_b(b);
    json tensors = json::array();
    for (const TensorComparison& tensor : comparison.tensors)
        tensors.push_back(tensor_json(tensor, tensor.named_by_b ? places_b : places_a));
    json growth = json::array();
    for (const GrowthPoint& point : growth_of(comparison))
        growth.push_back(
            {{"name", point.tensor->name},
             {"step", point.tensor->step},
             {"relative_rms",
              std::isfinite(point.tensor->relative_rms) ? json(point.tensor->relative_rms) : json(nullptr)}});
    json result{{"a", a.folder().string()},
                {"b", b.folder().string()},
                {"same", comparison.same},
                {"only_a", names_json(comparison.only_a)},
                {"only_b", names_json(comparison.only_b)},
                {"first_different", nullptr}};
    result["growth"] = std::move(growth);
    result["rounding"] = comparison.rounding;
    result["notes"] = comparison.notes;
    result["allowed"] = allowance_text(comparison, true);
    if (comparison.explanation)
        add_explanation(*comparison.explanation, comparison, tensors, result);
    if (comparison.first_different >= 0)
        result["first_different"] = at(tensors, comparison.first_different);
    if (!comparison.generated_problem.empty())
        result["generated"] = comparison.generated_problem;
    result["tensors"] = std::move(tensors);
    return result;
}

}  // namespace pictor
