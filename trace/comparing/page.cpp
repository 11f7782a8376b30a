#include "trace/comparing/page.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "trace/comparing/narrative.h"
#include "trace/explaining/explain.h"
#include "trace/reading/places.h"

using nlohmann::json;

namespace pictor {
namespace {

std::string producer_of(const Trace& trace)
{
    const json& header = trace.header();
    return header.contains("producer") && header["producer"].is_string()
               ? header["producer"].get<std::string>()
               : "unknown";
}

std::string head(const Comparison& comparison, const Trace& a, const Trace& b)
{
    std::int64_t different = 0;
    for (const TensorComparison& tensor : comparison.tensors)
        different += !tensor.same;
    std::string text = fmt::format(
        "<header>\n<h1>{}</h1>\n<dl><dt>a</dt><dd><code>{}</code> by {}</dd><dt>b</dt><dd><code>{}</code> by "
        "{}</dd></dl>\n<ul class=\"counts\">"
        "<li><b>{}</b> tensors compared</li><li><b>{}</b> differ</li>",
        comparison.same ? "Two traces that agree" : "Where two traces differ",
        escape_markup(a.folder().string()), escape_markup(producer_of(a)), escape_markup(b.folder().string()),
        escape_markup(producer_of(b)), comparison.tensors.size(), different);
    if (const Explanation* explanation = comparison.explanation.get())
        text += fmt::format(
            "<li><b>{}</b> follow from their inputs</li><li><b>{}</b> only propagate an earlier error</li>"
            "<li><b>{}</b> steps at fault</li><li><b>{}</b> cannot be judged</li>",
            explanation->count(Verdict::explained), explanation->count(Verdict::likely),
            explanation->faults.size(), explanation->count(Verdict::unknown));
    return text + "</ul>\n</header>\n";
}

std::string element_rows(const char* word, const ElementPair& element, const TensorComparison& tensor,
                         const Places& places)
{
    return fmt::format("<dt>{}</dt><dd>{}<br>a {}, b {}, apart {}</dd>", word,
                       escape_markup(places.describe(naming_entry(tensor), element.position)),
                       real_text(element.a, "{:.9g}"), real_text(element.b, "{:.9g}"),
                       real_text(std::fabs(element.a - element.b)));
}

std::string first_difference(const Comparison& comparison, const Places& places)
{
    if (comparison.first_different < 0)
        return "<div class=\"card same\"><h3>No tensor differs by more than is allowed</h3></div>\n";
    const TensorComparison& tensor = at(comparison.tensors, comparison.first_different);
    std::string text = fmt::format("<div class=\"card\"><h3>step {}, <span class=\"name\">{}</span></h3><dl>",
                                   tensor.step, escape_markup(tensor.name));
    if (!tensor.problem.empty())
        text += fmt::format("<dt>problem</dt><dd>{}</dd>", escape_markup(tensor.problem));
    text += fmt::format("<dt>numbers off</dt><dd>{} of {}, by more than {:g} + {:g} x |b|</dd>", tensor.off,
                        tensor.compared, tensor.tolerance.atol, tensor.tolerance.rtol);
    if (tensor.worst.position >= 0)
        text += element_rows("worst", tensor.worst, tensor, places);
    if (tensor.off > 0)
        text += element_rows("first", tensor.first, tensor, places);
    text += fmt::format("<dt>error by spread</dt><dd>{} at the worst, {} root mean square</dd>",
                        real_text(tensor.relative_error), real_text(tensor.relative_rms));
    for (const auto& [word, entry] :
         {std::pair("a computes it at", tensor.a), std::pair("b computes it at", tensor.b)})
        if (!entry->source.empty())
            text += fmt::format("<dt>{}</dt><dd><code>{}</code></dd>", word, escape_markup(entry->source));
    return text + "</dl></div>\n";
}

std::string tested_table(const std::vector<Tested>& tested)
{
    double least_a = INFINITY, least_b = INFINITY;
    for (const Tested& each : tested) {
        least_a = each.a >= 0 ? std::min(least_a, each.a) : least_a;
        least_b = each.b >= 0 ? std::min(least_b, each.b) : least_b;
    }
    std::string text = fmt::format(
        "<details><summary>{} rules tested on the numbers</summary><div class=\"scroll\"><table><thead><tr>"
        "<th>rule</th><th>if followed</th><th>a is off by</th><th>b is off by</th></tr></thead><tbody>",
        tested.size());
    const auto off = [](double value) { return value < 0 ? "" : real_text(value); };
    for (const Tested& each : tested)
        text += fmt::format(
            "<tr{}><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            (each.a >= 0 && each.a == least_a) || (each.b >= 0 && each.b == least_b) ? " class=\"best\"" : "",
            escape_markup(each.rule), each.cause.text(), off(each.a), off(each.b));
    return text + "</tbody></table></div></details>";
}

std::string faults_section(const Comparison& comparison)
{
    const Explanation* explanation = comparison.explanation.get();
    if (!explanation || explanation->of_tensor.empty())
        return "";
    std::string text =
        "<section aria-labelledby=\"faults-title\">\n<h2 id=\"faults-title\">Which steps are done "
        "differently</h2>\n"
        "<p class=\"soft small\">Each step is computed again from each trace's own inputs, so that a fault "
        "further up does not show here again.</p>\n";
    if (explanation->faults.empty())
        text += "<div class=\"card same\"><h3>None, as far as the recorded tensors tell</h3></div>\n";
    for (const Fault& fault : explanation->faults) {
        const TensorComparison& tensor = at(comparison.tensors, fault.index);
        text +=
            fmt::format("<div class=\"card\"><h3>step {}, <span class=\"name\">{}</span>{}</h3>", tensor.step,
                        escape_markup(tensor.name),
                        fault.also.empty() ? "" : fmt::format(" and {} more of its kind", fault.also.size()));
        if (fault.cause >= 0)
            text += fmt::format("<p><span class=\"cause\">{}</span></p>",
                                at(explanation->causes, fault.cause).name.text());
        text += fmt::format("<p>{}</p>", escape_markup(fault.text));
        if (const std::vector<Tested>& tested = explanation->of_tensor.at(fault.index).tested;
            !tested.empty())
            text += tested_table(tested);
        text += "</div>\n";
    }
    return text + "</section>\n";
}

// The next point of the curve. A tensor that is equal in both has none: it would lie at a height that is not
// its own.
std::string curve_point(double x, double y, bool differs, bool& on_line)
{
    const bool joined = std::exchange(on_line, differs) && differs;
    return differs ? fmt::format("{}{:.1f} {:.1f}{}", joined ? "L" : "M", x, y, joined ? "" : "h0.1") : "";
}

// The error of every tensor in the order of computation, on a scale of powers of ten.
std::string growth_chart(const Comparison& comparison)
{
    constexpr double width = 1180, height = 300, left = 62, right = 12, top = 14, bottom = 34, lowest = -9,
                     highest = 2;
    const auto count = static_cast<double>(std::max<std::size_t>(2, comparison.tensors.size()));
    const auto x = [&](double index) { return left + (width - left - right) * index / (count - 1); };
    const auto y = [&](double value) {
        const double power =
            value > 0 ? std::clamp(std::isfinite(value) ? std::log10(value) : highest, lowest, highest)
                      : lowest;
        return top + (height - top - bottom) * (highest - power) / (highest - lowest);
    };
    std::string text = fmt::format(
        "<svg viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"error of each tensor by its standard "
        "deviation, in the "
        "order of computation\">",
        width, height);
    std::string line, marks, labels;
    bool on_line = false;  // whether the last tensor had an error to join to
    std::size_t start = 0;
    for (std::size_t i = 0; i <= comparison.tensors.size(); ++i) {
        const bool ends =
            i == comparison.tensors.size() || comparison.tensors[i].step != comparison.tensors[start].step;
        if (!ends || i == start)
            continue;
        if (comparison.tensors[start].step % 2 == 1)
            text +=
                fmt::format("<rect class=\"band\" x=\"{:.1f}\" y=\"{:g}\" width=\"{:.1f}\" height=\"{:g}\"/>",
                            x(static_cast<double>(start)), top,
                            x(static_cast<double>(i)) - x(static_cast<double>(start)), height - top - bottom);
        if (x(static_cast<double>(i)) - x(static_cast<double>(start)) > 44)
            labels +=
                fmt::format("<text x=\"{:.1f}\" y=\"{:g}\">step {}</text>", x(static_cast<double>(start)) + 3,
                            height - bottom + 17, comparison.tensors[start].step);
        start = i;
    }
    for (int power = static_cast<int>(lowest) + 1; power <= static_cast<int>(highest); power += 2)
        text += fmt::format(
            "<line class=\"grid\" x1=\"{:g}\" x2=\"{:g}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text x=\"8\" "
            "y=\"{:.1f}\">1e{}</text>",
            left, width - right, y(std::pow(10, power)), y(std::pow(10, power)), y(std::pow(10, power)) + 4,
            power);
    for (std::size_t i = 0; i < comparison.tensors.size(); ++i)
        if (comparison.tensors[i].compared > 0 && naming_entry(comparison.tensors[i]).dtype != "I64")
            line += curve_point(x(static_cast<double>(i)), y(comparison.tensors[i].relative_rms),
                                comparison.tensors[i].relative_rms > 0, on_line);
    text += fmt::format("<path class=\"line\" d=\"{}\"/>", line.empty() ? "M0 0" : line);
    if (comparison.first_different >= 0)
        text += fmt::format("<line class=\"first\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:g}\" y2=\"{2:g}\"/>",
                            x(static_cast<double>(comparison.first_different)), top, height - bottom);
    if (comparison.explanation)
        for (const auto& [index, judgement] : comparison.explanation->of_tensor)
            if (judgement.verdict == Verdict::fault) {
                const TensorComparison& tensor = at(comparison.tensors, index);
                marks += fmt::format(
                    "<circle class=\"fault\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{}, step {}: "
                    "{}</title></circle>",
                    x(static_cast<double>(index)), y(tensor.relative_rms), escape_markup(tensor.name),
                    tensor.step, escape_markup(judgement.text));
            }
    return text + labels + marks + "</svg>\n";
}

std::string missing_section(const Comparison& comparison)
{
    std::string text;
    for (const auto& [word, entries] :
         {std::pair("a", &comparison.only_a), std::pair("b", &comparison.only_b)}) {
        if (entries->empty())
            continue;
        text += fmt::format("<details><summary>{} tensors are only in {}</summary><p class=\"name\">",
                            entries->size(), word);
        for (const TraceEntry* entry : *entries)
            text += fmt::format("{} (step {})<br>", escape_markup(entry->name), entry->step);
        text += "</p></details>\n";
    }
    return text;
}

std::string paragraphs(const std::string& text)
{
    std::string result;
    for (char c : escape_markup(text))
        result += c == '\n' ? "<br>" : std::string(1, c);
    return "<p class=\"small\">" + result + "</p>\n";
}

}  // namespace

std::string comparison_page(const Comparison& comparison, const Trace& a, const Trace& b,
                            const CompareOptions& options)
{
    const Places places_a(a), places_b(b);
    const bool by_b =
        comparison.first_different >= 0 && at(comparison.tensors, comparison.first_different).named_by_b;
    std::string page = head(comparison, a, b) + "<main>\n";
    page += "<section aria-labelledby=\"first-title\">\n<h2 id=\"first-title\">The first difference</h2>\n" +
            first_difference(comparison, by_b ? places_b : places_a) + "</section>\n";
    if (!comparison.generated_problem.empty())
        page += paragraphs(comparison.generated_problem);
    page += faults_section(comparison);
    page += "<section aria-labelledby=\"growth-title\">\n<h2 id=\"growth-title\">How the error grew</h2>\n" +
            paragraphs(growth_text(comparison)) + growth_chart(comparison) +
            "<p class=\"soft small\">Root mean square error of each tensor by its standard deviation, "
            "in the order of computation; what is equal in both has no point. "
            "Dashed: the first difference; dots: faults.</p>\n</section>\n";
    if (const std::string allowed = allowance_text(comparison, options.policy.is_built_in());
        !allowed.empty())
        page +=
            "<section aria-labelledby=\"allowed-title\">\n<h2 id=\"allowed-title\">What was allowed</h2>\n" +
            paragraphs(allowed) + "</section>\n";
    page += tensors_section(comparison, a, b) + missing_section(comparison);
    page += "<p>&#160;</p>\n</main>\n";
    const std::string nonce = nonce_of(page);
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'nonce-{0}'; "
        "script-src 'nonce-{0}'; base-uri 'none'; form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>Where two traces differ</title>\n<style nonce=\"{0}\">{1}</style>\n</head>\n<body>\n"
        "{2}<script nonce=\"{0}\">{3}</script>\n</body>\n</html>\n",
        nonce, page_style, page, page_script);
}

}  // namespace pictor
