// The page's list of tensors: those that differ, once each, folded by layer.
#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "trace/comparing/page.h"
#include "trace/explaining/explain.h"
#include "trace/graph/operations.h"
#include "trace/reading/places.h"

namespace pictor {
namespace {

// One tensor over all steps in which it differs.
struct Differing {
    std::size_t first = 0;  // index of the first of them
    std::size_t worst = 0;  // the one with the largest error by its spread
    std::int64_t steps = 0;
};

struct Group {
    std::string title;
    std::vector<Differing> tensors;
    std::map<std::string, std::size_t> of_name;  // index into tensors
};

std::string group_of(const std::string& name)
{
    const NameParts parts = split_name(name);
    return parts.module.empty() ? "around the layers" : parts.module;
}

std::vector<Group> differing_by_layer(const Comparison& comparison)
{
    std::vector<Group> groups;
    for (std::size_t i = 0; i < comparison.tensors.size(); ++i) {
        const TensorComparison& tensor = comparison.tensors[i];
        if (tensor.same)
            continue;
        const std::string title = group_of(tensor.name);
        auto group =
            std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.title == title; });
        if (group == groups.end())
            group = groups.insert(groups.end(), Group{title, {}, {}});
        const auto [place, is_new] = group->of_name.emplace(tensor.name, group->tensors.size());
        if (is_new)
            group->tensors.push_back({i, i, 0});
        Differing& here = group->tensors[place->second];
        ++here.steps;
        if (tensor.relative_error > comparison.tensors[here.worst].relative_error)
            here.worst = i;
    }
    return groups;
}

const Judgement* judgement_of(const Comparison& comparison, std::size_t index)
{
    if (!comparison.explanation)
        return nullptr;
    const auto found = comparison.explanation->of_tensor.find(static_cast<std::int64_t>(index));
    return found == comparison.explanation->of_tensor.end() ? nullptr : &found->second;
}

// Where attention to a picture differs: the command that draws the difference over it, for the word that the
// worst row predicts.
std::string draw_command(const TensorComparison& tensor, const Trace& a, const Trace& b)
{
    const NameParts parts = split_name(tensor.name);
    const std::vector<std::int64_t>& shape = naming_entry(tensor).shape;
    if (parts.leaf != "cross_attn.probs" || shape.size() != 3 || shape[2] < 1 || shape[1] < 1 ||
        tensor.worst.position < 0)
        return "";
    const std::int64_t row = tensor.worst.position / shape[2] % shape[1];
    const auto& steps = a.steps();
    const auto step =
        std::find_if(steps.begin(), steps.end(), [&](const TraceStep& s) { return s.index == tensor.step; });
    if (step == steps.end())
        return "";
    return fmt::format("<code class=\"command\">viz heatmap {} --minus {} --layer {} --token {} --output "
                       "difference.png</code>",
                       escape_markup(a.folder().string()), escape_markup(b.folder().string()), parts.layer,
                       step->first_token + row + 1);
}

std::string row_of(const Comparison& comparison, const Differing& differing, const Trace& a, const Trace& b,
                   const Places& places_a, const Places& places_b)
{
    const TensorComparison& first = comparison.tensors[differing.first];
    const TensorComparison& worst = comparison.tensors[differing.worst];
    const Judgement* const judgement = judgement_of(comparison, differing.first);
    const std::string state = judgement ? std::string(verdict_text(judgement->verdict)) : "different";
    const bool has_place = worst.worst.position >= 0 && worst.max_error > 0;
    const Places& places = worst.named_by_b ? places_b : places_a;
    const std::string place = has_place ? places.describe(naming_entry(worst), worst.worst.position) : "";
    std::string row =
        fmt::format("<tr data-name=\"{0}\" data-verdict=\"{1}\"{2}><td class=\"name\">{0}</td><td "
                    "class=\"number\">{3}{4}</td>",
                    escape_markup(first.name), state, state == "fault" ? " class=\"fault\"" : "", first.step,
                    differing.steps > 1 ? fmt::format(" and {} more", differing.steps - 1) : "");
    row += fmt::format("<td class=\"number\">{}</td><td class=\"number\">{} of {}{}</td>",
                       real_text(worst.relative_error), first.off, first.compared,
                       first.how == "sample" ? " (sample)" : "");
    row += fmt::format("<td class=\"place\">{}{}</td>",
                       worst.step != first.step && has_place ? fmt::format("step {}: ", worst.step) : "",
                       has_place ? fmt::format("{}<br>a {}, b {}", escape_markup(place),
                                               real_text(worst.worst.a, "{:.6g}"),
                                               real_text(worst.worst.b, "{:.6g}"))
                                 : "");
    return row + fmt::format("<td class=\"verdict-{}\">{}</td><td class=\"why\">{}{}</td></tr>\n", state,
                             state, escape_markup(judgement ? judgement->text : first.problem),
                             draw_command(worst, a, b));
}

// "14 tensors, error up to 1.2 of their spread; 1 fault"
std::string summary_of(const Comparison& comparison, const Group& group)
{
    double worst = 0;
    std::size_t faults = 0;
    for (const Differing& differing : group.tensors) {
        worst = std::max(worst, comparison.tensors[differing.worst].relative_error);
        const Judgement* const judgement = judgement_of(comparison, differing.first);
        faults += judgement && judgement->verdict == Verdict::fault;
    }
    return fmt::format("<summary><span class=\"name\">{}</span><span>{} tensor{}, off by up to {} of the "
                       "spread</span>{}</summary>",
                       escape_markup(group.title), group.tensors.size(), group.tensors.size() == 1 ? "" : "s",
                       real_text(worst),
                       faults > 0 ? fmt::format("<span class=\"verdict-fault\">{} at fault</span>", faults)
                                  : "");
}

}  // namespace

std::string tensors_section(const Comparison& comparison, const Trace& a, const Trace& b)
{
    const std::vector<Group> groups = differing_by_layer(comparison);
    const auto same = std::count_if(comparison.tensors.begin(), comparison.tensors.end(),
                                    [](const TensorComparison& tensor) { return tensor.same; });
    std::string text =
        fmt::format("<section aria-labelledby=\"tensors-title\">\n<h2 id=\"tensors-title\">The tensors that "
                    "differ</h2>\n<p class=\"soft small\">By layer, in the order of computation; each tensor "
                    "once, however many steps it differs in. {} tensors are as they should be and are not "
                    "listed.</p>\n",
                    same);
    if (groups.empty())
        return text + "</section>\n";
    text += "<div class=\"controls\"><label>search <input type=\"search\" id=\"search\" "
            "placeholder=\"cross_attn probs\"></label>"
            "<label>show <select id=\"only\"><option value=\"all\">all</option><option "
            "value=\"fault\">faults</option>"
            "<option value=\"explained\">explained</option><option value=\"likely\">likely</option><option "
            "value=\"unknown\">unknown</option></select></label>"
            "<span class=\"soft small\" id=\"found\" aria-live=\"polite\"></span></div>\n";
    const Places places_a(a), places_b(b);
    bool first = true;
    for (const Group& group : groups) {
        text +=
            fmt::format("<details class=\"layer\"{}>{}<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                        "aria-label=\"{}\"><table>"
                        "<thead><tr>",
                        first ? " open" : "", summary_of(comparison, group), escape_markup(group.title));
        first = false;
        for (const char* title :
             {"tensor", "step", "error/std", "numbers off", "worst place", "verdict", "why"})
            text += fmt::format("<th scope=\"col\">{}</th>", title);
        text += "</tr></thead><tbody>\n";
        for (const Differing& differing : group.tensors)
            text += row_of(comparison, differing, a, b, places_a, places_b);
        text += "</tbody></table></div></details>\n";
    }
    return text + "</section>\n";
}

std::string real_text(double value, const char* form)
{
    return std::isfinite(value) ? fmt::format(fmt::runtime(form), value) : "not finite";
}

}  // namespace pictor
