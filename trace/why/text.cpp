// An answer for a terminal, and for programs.
#include <cmath>
#include <ostream>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "trace/why/sums.h"

using nlohmann::json;

namespace pictor {
namespace {

std::string signed_text(double value)
{
    return value == 0 ? "0" : (value < 0 ? "" : "+") + number_text(value);
}

// How well the terms make the number that was recorded.
std::string agreement_text(const Answer& answer)
{
    const double off = std::fabs(answer.computed - answer.value);
    if (off == 0)
        return ", exactly the recorded number";
    if (off <= answer.floor)
        return fmt::format(", the recorded number to within {:.1g} (float rounding)", off);
    return fmt::format(", BUT {} WAS RECORDED: this step was computed differently",
                       number_text(answer.value));
}

void print_terms(std::ostream& out, const Answer& answer, std::size_t shown)
{
    std::size_t width = 20;
    const std::size_t count = std::min(shown, answer.terms.size());
    for (std::size_t i = 0; i < count; ++i)
        width = std::max(width, std::min<std::size_t>(58, answer.terms[i].text.size()));
    for (std::size_t i = 0; i < count; ++i) {
        const Term& term = answer.terms[i];
        out << fmt::format("  {:>10}  {:<{}}", signed_text(term.value),
                           "from " + visible_text(term.text, 100), term.how.empty() ? 0 : width + 5);
        out << (term.how.empty() ? "\n" : fmt::format("  {}\n", term.how));
    }
    std::int64_t n_others = answer.n_others;
    double others = answer.others;
    for (std::size_t i = count; i < answer.terms.size(); ++i, ++n_others)
        others += answer.terms[i].value;
    if (n_others > 0)
        out << fmt::format("  {:>10}  from the other {} terms together\n", signed_text(others), n_others);
    out << fmt::format("  {:>10}  in all{}{}\n", signed_text(answer.total),
                       answer.total_is.empty() ? ""
                                               : fmt::format(": {}, so the number is {}", answer.total_is,
                                                             number_text(answer.computed)),
                       agreement_text(answer));
}

json terms_json(const std::vector<Term>& terms)
{
    json result = json::array();
    for (const Term& term : terms) {
        json each{{"value", term.value}, {"text", term.text}, {"how", term.how}};
        if (term.next)
            each["next"] = {
                {"name", term.next->name}, {"step", term.next->step}, {"index", term.next->indices}};
        result.push_back(std::move(each));
    }
    return result;
}

}  // namespace

void print_answer(std::ostream& out, const Answer& answer)
{
    std::size_t shown = answer.behind ? 6 : 11;  // all levels on one screen
    for (const Answer* at = &answer; at; at = at->behind.get(), shown = 4) {
        if (at != &answer)
            out << "\nAnd the largest of these:\n";
        out << fmt::format("{} = {}{}\n", visible_text(ask_text(at->ask), 300), number_text(at->value),
                           at->ask.step > 0 ? fmt::format("   (step {})", at->ask.step) : "");
        if (!at->place.empty())
            out << "  " << visible_text(at->place, 200) << "\n";
        if (!at->untold.empty()) {
            out << "  Unknown: " << visible_text(at->untold, 300) << "\n";
            continue;
        }
        out << "  " << at->how << (at == &answer ? "\n\n" : "\n");
        print_terms(out, *at, shown);
        if (!at->beside_title.empty() && at == &answer) {
            out << "\n  " << at->beside_title << "\n";
            for (const Term& term : at->beside)
                out << fmt::format("  {:>9.1f}%  {:<24}  {}\n", 100 * term.value, visible_text(term.text, 60),
                                   term.how);
        }
        for (const std::string& note : at->notes)
            out << "  " << note << "\n";
        if (at == &answer && !(at->source.empty() && at->chapter.empty()))
            out << fmt::format(
                "\n  {}{}\n", at->source.empty() ? "" : "computed at " + visible_text(at->source, 120) + ", ",
                "explained in chapters/" + at->chapter + ".md");
    }
}

json answer_json(const Answer& answer)
{
    json result{{"name", answer.ask.name},
                {"step", answer.ask.step},
                {"index", answer.ask.indices},
                {"towards", answer.ask.towards},
                {"value", answer.value},
                {"place", answer.place},
                {"how", answer.how},
                {"source", answer.source},
                {"chapter", answer.chapter},
                {"terms", terms_json(answer.terms)},
                {"others", {{"count", answer.n_others}, {"value", answer.others}}},
                {"total", answer.total},
                {"total_is", answer.total_is},
                {"computed", answer.computed},
                {"beside_title", answer.beside_title},
                {"beside", terms_json(answer.beside)},
                {"notes", answer.notes}};
    if (!answer.untold.empty())
        result["untold"] = answer.untold;
    if (answer.behind)
        result["behind"] = answer_json(*answer.behind);
    return result;
}

}  // namespace pictor
