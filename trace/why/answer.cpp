// From "NAME[index]" to the terms of that number.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "trace/reading/show.h"
#include "trace/why/sums.h"

using nlohmann::json;

namespace pictor {
namespace {

// Where names that are asked for are none of the trace's.
const TraceEntry& entry_of(const WhyRun& run, const std::string& name, std::int64_t step)
{
    const auto n_steps = static_cast<std::int64_t>(run.trace().steps().size());
    if (step < 0 || step >= n_steps)
        throw std::runtime_error(
            fmt::format("{}: has no step {}; it has {} steps", run.trace().folder().string(), step, n_steps));
    return find_or_suggest(run.trace(), name, step);
}

// A word of the answer instead of a name: the logit that chose it, where the answer first has it.
std::optional<Ask> chosen_word(const Trace& trace, const std::string& word)
{
    const json::json_pointer texts("/generated/token_texts"), ids("/generated/token_ids");
    if (trace.find(word) || !trace.header().contains(texts) || !trace.header().contains(ids))
        return std::nullopt;
    const json &text = trace.header().at(texts), &id = trace.header().at(ids);
    for (std::size_t i = 0; text.is_array() && id.is_array() && i < std::min(text.size(), id.size()); ++i) {
        if (!text[i].is_string() || !id[i].is_number_integer())
            continue;
        const std::string said = text[i].get<std::string>();
        if (said != word && said != " " + word)
            continue;
        const TraceEntry* const logits = trace.find("lm_head", static_cast<std::int64_t>(i));
        const std::int64_t chosen = id[i].get<std::int64_t>();
        if (logits && logits->shape.size() == 2 && logits->shape[0] > 0 && chosen >= 0 &&
            chosen < logits->shape[1])
            return Ask{"lm_head", logits->step, {logits->shape[0] - 1, chosen}, {}, ""};
    }
    return std::nullopt;
}

// The largest number among the axes that were left open; of probabilities and logits the likeliest.
std::vector<std::int64_t> largest_in(const WhyRun& run, const TraceEntry& entry,
                                     const std::vector<SliceAxis>& slice)
{
    const Numbers numbers = run.need(entry.name, entry.step);
    const bool likeliest =
        entry.name.ends_with("probs") || entry.name == "lm_head" || entry.name.ends_with("scores");
    std::vector<std::int64_t> indices, best;
    double most = 0;
    for (const SliceAxis& axis : slice) {
        indices.push_back(axis.first);
        if (axis.first >= axis.last)
            throw std::runtime_error(fmt::format("{}: the slice holds no number", entry.name));
    }
    while (true) {
        const double value = at(numbers->values, position_in(numbers, entry.name, indices));
        const double size = likeliest ? value : std::fabs(value);
        if (best.empty() || size > most) {
            most = size;
            best = indices;
        }
        std::size_t axis = slice.size();
        while (axis > 0 && ++indices[axis - 1] == slice[axis - 1].last) {
            --axis;
            indices[axis] = slice[axis].first;
        }
        if (axis == 0)
            return best;
    }
}

void describe(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const TraceEntry& entry = *run.trace().find(ask.name, ask.step);
    const Numbers numbers = run.need(ask.name, ask.step);
    std::vector<std::int64_t> indices = ask.indices;
    if (!ask.direction.empty())
        indices.push_back(0);
    answer.place = run.places().describe(entry, position_in(numbers, ask.name, indices));
    if (!ask.direction.empty())
        answer.place = answer.place.substr(0, answer.place.rfind(", channel 0"));
    if (ask.name == "lm_head")
        answer.place += " " + run.word(indices.back());
    answer.source = entry.source;
    if (const Operation* operation = run.side(ask.step).operation_of(ask.name))
        answer.chapter = operation->chapter;
}

Answer answer_one(const WhyRun& run, const Ask& ask)
{
    Answer answer;
    answer.ask = ask;
    try {
        describe(run, ask, answer);
        answer.value = value_of(run, ask);
        const Operation* const operation = run.side(ask.step).operation_of(ask.name);
        const Sum sum = operation ? sum_of(*operation) : nullptr;
        if (!sum)
            throw Untold{fmt::format("{} is no step of this model", ask.name)};
        if (run.need(ask.name, ask.step)->shape.size() !=
            static_cast<std::size_t>(
                std::count(operation->axes, operation->axes + std::strlen(operation->axes), ' ') + 1))
            throw Untold{fmt::format("{} should have the axes {}", ask.name, operation->axes)};
        sum(run, ask, answer);
    } catch (const Untold& reason) {
        answer.untold = reason.text;
    } catch (const std::out_of_range&) {
        answer.untold = fmt::format("{} and the tensors around it have sizes that do not match", ask.name);
    }
    return answer;
}

}  // namespace

Ask parse_ask(const WhyRun& run, const std::string& text, std::int64_t step)
{
    if (const std::optional<Ask> word = chosen_word(run.trace(), text); word && step == 0)
        return *word;
    const SliceRequest request = parse_slice_request(text);
    const TraceEntry& entry = entry_of(run, request.name, step);
    const std::vector<SliceAxis> slice = parse_slice(request.indices, entry.shape);
    try {
        return {request.name, step, largest_in(run, entry, slice), {}, ""};
    } catch (const Untold& reason) {
        throw std::runtime_error(fmt::format("{}: {}", run.trace().folder().string(), reason.text));
    }
}

Answer answer_why(const WhyRun& run, const Ask& ask, std::int64_t depth)
{
    Answer answer = answer_one(run, ask);
    if (depth > 1 && !answer.terms.empty() && answer.terms.front().next)
        answer.behind = std::make_unique<Answer>(answer_why(run, *answer.terms.front().next, depth - 1));
    return answer;
}

std::string ask_text(const Ask& ask)
{
    return fmt::format("{}[{}]{}", ask.name, fmt::join(ask.indices, ", "),
                       ask.towards.empty() ? "" : fmt::format(" towards {}", ask.towards));
}

}  // namespace pictor
