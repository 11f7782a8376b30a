#include "trace/explaining/explain.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/judges.h"

namespace pictor {
namespace {

// A tensor that only one side has is no input that could be compared: what it is made of stands for it. Each
// is followed once: a residual stream forks and joins in every layer, so the ways back through it are
// countless.
void add_inputs_across_gaps(const std::map<std::pair<std::int64_t, std::string>, std::size_t>& places,
                            const Pair& pair, const std::vector<std::string>& inputs,
                            std::set<std::string>& seen, std::vector<std::string>& found)
{
    for (const std::string& input : inputs) {
        if (!seen.insert(input).second)
            continue;
        const bool compared = places.count({pair.b.step(), input}) > 0 || places.count({0, input}) > 0;
        const bool one_sided = pair.a.has(input) != pair.b.has(input);
        const std::vector<std::string> behind =
            !compared && one_sided ? pair.b.inputs_of(input) : std::vector<std::string>{};
        if (behind.empty())
            found.push_back(input);
        else
            add_inputs_across_gaps(places, pair, behind, seen, found);
    }
}

// Every recorded input is there on both sides and agrees: 1; one differs: 0; one is not recorded: -1.
int inputs_agree(const Comparison& comparison,
                 const std::map<std::pair<std::int64_t, std::string>, std::size_t>& places, const Pair& pair)
{
    const std::vector<std::string> inputs = pair.b.inputs_of(pair.name);
    if (inputs.empty())
        return -1;
    std::set<std::string> seen;
    std::vector<std::string> found;
    add_inputs_across_gaps(places, pair, inputs, seen, found);
    int agree = 1;
    for (const std::string& input : found) {
        const auto place = places.find({input == "multi_modal_projector" ? 0 : pair.b.step(), input});
        const bool cached = place == places.end() && pair.b.step() > 0 &&
                            places.count({0, input}) > 0;  // keys of the picture
        if (place == places.end() && !cached)
            return -1;
        if (!comparison.tensors[cached ? places.at({0, input}) : place->second].same)
            agree = 0;
    }
    return agree;
}

using Places = std::map<std::pair<std::int64_t, std::string>, std::size_t>;

// NaN, or infinity that no mask put there.
bool has_nan(const Side& side, const std::string& name)
{
    const TraceEntry* const entry = side.entry(name);
    if (!entry || entry->statistics.nonfinite == 0)
        return false;
    if (!name.ends_with("masked_scores"))
        return true;
    const Numbers numbers = side.find(name);
    return numbers && std::any_of(numbers->values.begin(), numbers->values.end(),
                                  [](float value) { return std::isnan(value); });
}

// A tensor with NaN in one trace: does this step make it, or is it passed on? Nothing: it has none, or both.
std::optional<Judgement> judge_nan(const Pair& pair)
{
    const bool in_a = has_nan(pair.a, pair.name), in_b = has_nan(pair.b, pair.name);
    if (in_a == in_b)
        return std::nullopt;
    const Side& odd = in_a ? pair.a : pair.b;
    const char* const who = in_a ? "a" : "b";
    Judgement judgement;
    for (const std::string& input : odd.inputs_of(pair.name))
        if (has_nan(odd, input) || (!odd.has(input) && odd.trace().find(input, 0) && odd.step() > 0 &&
                                    odd.trace().find(input, 0)->statistics.nonfinite > 0)) {
            judgement.verdict = Verdict::explained;
            judgement.text = fmt::format("{} only propagates the NaN in {}", who, input);
            return judgement;
        }
    judgement.verdict = Verdict::fault;
    judgement.text =
        fmt::format("{} makes the first NaN here: {} of {} numbers are not finite, though everything that "
                    "goes in is",
                    who, odd.entry(pair.name)->statistics.nonfinite, odd.entry(pair.name)->size());
    judgement.causes.push_back({"nan_made",
                                judgement.text,
                                pair.name,
                                pair.a.step(),
                                static_cast<double>(odd.entry(pair.name)->statistics.nonfinite),
                                0,
                                {}});
    return judgement;
}

// A run in 32 bits that keeps this one tensor in 16.
Judgement judge_narrowed(const Pair& pair, const TensorComparison& tensor)
{
    Judgement judgement;
    judgement.verdict = Verdict::fault;
    judgement.text = tensor.problem;
    judgement.causes.push_back(
        {"rounded_to_16_bits", tensor.problem, pair.name, pair.a.step(), tensor.max_error, 0, {}});
    return judgement;
}

Judgement judge_one(const Comparison& comparison, const Places& places, const Pair& pair,
                    const TensorComparison& tensor, bool first)
{
    if (comparison.narrowed >= 0 && &tensor == &at(comparison.tensors, comparison.narrowed))
        return judge_narrowed(pair, tensor);
    if (std::optional<Judgement> nan = judge_nan(pair))
        return *nan;
    Judgement judgement = judge_step(pair);
    if (tensor.same)  // within what rounding may do: only a rule not followed is a fault
        return judgement;
    const int agree = inputs_agree(comparison, places, pair);
    if (judgement.verdict == Verdict::unknown && agree == 1) {
        judgement.verdict = Verdict::fault;
        judgement.text = "the inputs agree, the output does not" +
                         (judgement.text.empty() ? "" : " (" + judgement.text + ")");
    }
    const bool whole_numbers =
        pair.b.entry(pair.name)->dtype == "I64";  // ids and masks: a factor or a turn of them means nothing
    if (judgement.causes.empty() && (first || agree == 1) && judgement.verdict != Verdict::explained &&
        !whole_numbers) {
        judgement.causes = test_relations(pair, judgement.tested);
        if (!judgement.causes.empty()) {
            judgement.verdict = Verdict::fault;
            judgement.text = judgement.causes.front().text;
        }
    }
    return judgement;
}

// Prompts of other lengths have nothing to compare number by number, but ids say what became of the prompt.
bool worth_judging(const Comparison& comparison, const TensorComparison& tensor)
{
    if (tensor.how.empty())
        return tensor.name == "input_ids" || tensor.name == "language_model.embed_tokens";
    return !tensor.same || (comparison.rounding != "F32" && tensor.max_error != 0);
}

// Tensors that stand together in a layer ask for the same inputs: one group, one pair of sides that remember
// them.
std::vector<std::vector<std::int64_t>> group_by_layer(const Comparison& comparison)
{
    std::vector<std::vector<std::int64_t>> groups;
    std::string last;
    for (std::size_t i = 0; i < comparison.tensors.size(); ++i) {
        const TensorComparison& tensor = comparison.tensors[i];
        if (!worth_judging(comparison, tensor))
            continue;
        const std::string group = fmt::format("{} {}", tensor.step, split_name(tensor.name).module);
        if (group != last)
            groups.emplace_back();
        last = group;
        groups.back().push_back(static_cast<std::int64_t>(i));
    }
    return groups;
}

std::string kind_of(const std::string& name)
{
    const NameParts parts = split_name(name);
    return parts.module.empty()
               ? name
               : (parts.vision ? parts.global ? "global " : "vision " : "text ") + parts.leaf;
}

// One fault per kind of tensor and cause, one cause per name.
void gather(const Comparison& comparison, Explanation& explanation)
{
    std::map<std::string, std::size_t> fault_of;
    for (auto& [index, judgement] : explanation.of_tensor) {
        if (judgement.verdict != Verdict::fault)
            continue;
        const std::string& name = at(comparison.tensors, index).name;
        const CauseName cause = judgement.causes.empty() ? CauseName() : judgement.causes.front().name;
        const auto [place, is_new] =
            fault_of.emplace(fmt::format("{} {}", kind_of(name), cause.text()), explanation.faults.size());
        if (!is_new) {
            Fault& fault = explanation.faults[place->second];
            fault.also.push_back(index);
            if (fault.cause >= 0)
                at(explanation.causes, fault.cause).also.push_back(name);
            continue;
        }
        Fault fault{index, judgement.text, -1, {}};
        if (!cause.empty()) {
            const auto known = std::find_if(explanation.causes.begin(), explanation.causes.end(),
                                            [&](const Cause& each) { return each.name == cause; });
            fault.cause = known - explanation.causes.begin();
            if (known == explanation.causes.end())
                explanation.causes.push_back(judgement.causes.front());
            else
                known->also.push_back(name);
        }
        explanation.faults.push_back(fault);
    }
}

}  // namespace

std::string_view verdict_text(Verdict verdict)
{
    switch (verdict) {
    case Verdict::fault:
        return "fault";
    case Verdict::explained:
        return "explained";
    case Verdict::likely:
        return "likely";
    default:
        return "unknown";
    }
}

std::int64_t Explanation::count(Verdict verdict) const
{
    return std::count_if(of_tensor.begin(), of_tensor.end(),
                         [&](const auto& each) { return each.second.verdict == verdict; });
}

Explanation explain(Comparison& comparison, const Trace& a, const Trace& b, const ExplainOptions& options)
{
    std::unique_ptr<ModelWeights> weights;
    if (!options.model.empty())
        weights = std::make_unique<ModelWeights>(options.model);
    const ModelFacts facts = read_facts(a, b);
    Places places;
    for (std::size_t i = 0; i < comparison.tensors.size(); ++i)
        places.emplace(std::pair(comparison.tensors[i].step, comparison.tensors[i].name), i);

    Explanation explanation;
    explanation.with_weights = weights != nullptr;
    const std::vector<std::vector<std::int64_t>> groups = group_by_layer(comparison);
    std::string broken;
#pragma omp parallel for schedule(dynamic)
    for (std::size_t g = 0; g < groups.size(); ++g) {
        try {
            const std::int64_t step = at(comparison.tensors, groups[g].front()).step;
            const Side side_a(a, facts, weights.get(), step, options.largest),
                side_b(b, facts, weights.get(), step, options.largest);
            for (std::int64_t index : groups[g]) {
                const TensorComparison& tensor = at(comparison.tensors, index);
                Judgement judgement = judge_one(comparison, places, {side_a, side_b, tensor.name}, tensor,
                                                index == comparison.first_different);
#pragma omp critical(explained)
                explanation.of_tensor.emplace(index, std::move(judgement));
            }
        } catch (const std::exception& error) {
#pragma omp critical(explained)
            broken = broken.empty() ? error.what() : std::min(broken, std::string(error.what()));
        }
    }
    if (!broken.empty())
        throw std::runtime_error(broken);
    for (auto each = explanation.of_tensor.begin(); each != explanation.of_tensor.end();) {
        TensorComparison& tensor = at(comparison.tensors, each->first);
        const bool within = tensor.same && each->second.verdict != Verdict::fault;
        if (tensor.same && !within) {
            tensor.same = comparison.same = false;
            if (comparison.first_different < 0 || each->first < comparison.first_different)
                comparison.first_different = each->first;
        }
        each = within ? explanation.of_tensor.erase(each) : std::next(each);
    }
    gather(comparison, explanation);
    return explanation;
}

}  // namespace pictor
