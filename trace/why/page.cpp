// An answer as one page that loads nothing.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "trace/why/sums.h"

namespace pictor {
namespace {

constexpr const char* style = R"(
:root{color-scheme:light dark;--ink:#1d2233;--soft:#5a6072;--paper:#fff;--card:#f4f5f9;--plus:#2f6fd0;
--minus:#c2571a}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf2;--soft:#a3a9bd;--paper:#14161d;--card:#1e212b;
--plus:#6fa3f5;--minus:#ef9a62}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:64rem;
margin:2rem auto;
padding:0 1rem}
h1,h2{font-size:1.15rem;overflow-wrap:anywhere}h1{font-size:1.4rem}
section{background:var(--card);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem .2rem 0;
vertical-align:top}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{width:30%}.bar svg{display:block;width:100%;height:1rem}.soft{color:var(--soft)}
@media(max-width:640px){.bar{display:none}}
)";

// A bar from the middle: to the right what adds, to the left what takes away.
std::string bar(double value, double most)
{
    const double share = most > 0 && std::isfinite(value) ? std::clamp(value / most, -1.0, 1.0) * 50 : 0;
    return fmt::format("<svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
                       "<rect x=\"{:.2f}\" y=\"1\" width=\"{:.2f}\" height=\"6\" fill=\"var(--{})\"/></svg>",
                       std::min(50.0, 50 + share), std::max(0.2, std::fabs(share)),
                       value < 0 ? "minus" : "plus");
}

std::string row(double value, double most, const std::string& text, const std::string& how)
{
    return fmt::format("<tr><td class=\"number\">{}{}</td><td class=\"bar\">{}</td><td>{}</td>"
                       "<td class=\"soft\">{}</td></tr>\n",
                       value < 0 ? "" : "+", number_text(value), bar(value, most), escape_markup(text),
                       escape_markup(how));
}

std::string section(const Answer& answer, bool first)
{
    std::string text =
        fmt::format("<section>\n<h2>{}{} = {}</h2>\n<p>{}<br><span class=\"soft\">{}</span></p>\n",
                    first ? "" : "The largest of these: ", escape_markup(ask_text(answer.ask)),
                    number_text(answer.value), escape_markup(answer.place),
                    escape_markup(answer.untold.empty() ? answer.how : "Unknown: " + answer.untold));
    if (answer.untold.empty()) {
        double most = std::fabs(answer.others);
        for (const Term& term : answer.terms)
            most = std::max(most, std::fabs(term.value));
        text += "<table><thead><tr><th class=\"number\">adds</th><th class=\"bar\"></th><th>from</th>"
                "<th>by</th></tr></thead><tbody>\n";
        for (const Term& term : answer.terms)
            text += row(term.value, most, term.text, term.how);
        if (answer.n_others > 0)
            text += row(answer.others, most, fmt::format("the other {} terms together", answer.n_others), "");
        text += fmt::format(
            "<tr><th class=\"number\">{}</th><td></td><th>in all{}</th><td class=\"soft\">recorded: {}</td>"
            "</tr></tbody></table>\n",
            number_text(answer.total), answer.total_is.empty() ? "" : escape_markup(": " + answer.total_is),
            number_text(answer.value));
    }
    if (!answer.beside.empty()) {
        text += fmt::format("<h2>{}</h2><table><tbody>\n", escape_markup(answer.beside_title));
        for (const Term& term : answer.beside)
            text += fmt::format("<tr><td class=\"number\">{:.1f}%</td><td class=\"bar\">{}</td><td>{}</td>"
                                "<td class=\"soft\">{}</td></tr>\n",
                                100 * term.value, bar(term.value, 1), escape_markup(term.text),
                                escape_markup(term.how));
        text += "</tbody></table>\n";
    }
    for (const std::string& note : answer.notes)
        text += "<p>" + escape_markup(note) + "</p>\n";
    return text + "</section>\n";
}

}  // namespace

std::string answer_page(const Answer& answer, const std::string& trace)
{
    std::string body;
    for (const Answer* at = &answer; at; at = at->behind.get())
        body += section(*at, at == &answer);
    return fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
        "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>Why {}</title><style>{}</style></head>\n<body>\n<main><h1>Why this number?</h1>\n"
        "<p class=\"soft\">In the trace {}: what made it, largest terms first.</p>\n"
        "{}</main></body></html>\n",
        escape_markup(ask_text(answer.ask)), style, escape_markup(trace), body);
}

}  // namespace pictor
