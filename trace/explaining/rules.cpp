#include "trace/explaining/rules.h"
#include "base/at.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

namespace pictor {
namespace {

constexpr double masked_from =
    6e4;  // scores that a mask forbids: the lowest number of a dtype, -65504 in F16, or minus infinity
constexpr double plainly = 1.0 / 16;  // of what rounding may do
constexpr double close_call = 3;      // a rule whose rms misfit is within this factor of the best is as good

bool is_masked(double value) { return value < -masked_from; }

// Of one trace: how far it is from each rule, and which rules it follows.
struct Followed {
    std::vector<Misfit> misfits;
    std::vector<std::size_t> rules;  // that fit to rounding, best guess first in the order of the list
    std::size_t nearest = 0;
    bool any_measured = false;
    double floor = 0;
};

// How far a trace's tensor is from a rule, at the places that were found of it.
Misfit misfit_of_rule(const StepRule& rule, const Side& side, const std::string& name,
                      const TraceTensor& found)
{
    const Predicted predicted = rule.predict(side);
    if (!predicted || predicted->values.size() == found.values.size() ||
        static_cast<std::int64_t>(predicted->values.size()) != side.entry(name)->size())
        return misfit(predicted, found);
    const TraceSample places = side.places_of(name);
    TraceTensor at_places{found.shape, {}};
    for (std::int64_t i = 0; i < places.count; ++i)
        at_places.values.push_back(at(predicted->values, places.start + i * places.stride));
    return misfit(at_places, found);
}

Followed follow(const Side& side, const std::string& name, const std::vector<StepRule>& rules,
                const TraceTensor& found, double least_floor)
{
    Followed result;
    result.floor = std::max(least_floor, rounding_floor(found, side.rounding_of(name)));
    for (const StepRule& rule : rules)
        result.misfits.push_back(misfit_of_rule(rule, side, name, found));
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < rules.size(); ++i) {
        const Misfit& each = result.misfits[i];
        result.any_measured = result.any_measured || each.measured;
        if (each.measured && each.rms < best) {
            best = each.rms;
            result.nearest = i;
        }
    }
    for (std::size_t i = 0; i < rules.size(); ++i) {
        const Misfit& each = result.misfits[i];
        if (each.measured && each.max <= result.floor && each.rms <= close_call * best + result.floor * 1e-4)
            result.rules.push_back(i);
    }
    return result;
}

// The rule that both follow, or one past the last.
std::size_t common_rule(const Followed& a, const Followed& b, std::size_t none)
{
    for (std::size_t rule : a.rules)
        if (std::find(b.rules.begin(), b.rules.end(), rule) != b.rules.end())
            return rule;
    return none;
}

double misfit_or_inf(const Misfit& misfit)
{
    return misfit.measured ? misfit.max : std::numeric_limits<double>::infinity();
}

// Each follows a rule of its own: the odd one is the one that leaves the references' rule.
Cause name_the_odd_one(const Pair& pair, const std::vector<StepRule>& rules, const Followed& a,
                       const Followed& b)
{
    const std::size_t rule_a = a.rules.front(), rule_b = b.rules.front();
    const bool odd_is_a = !rules[rule_a].cause.empty() || rules[rule_b].cause.empty();
    const std::size_t odd = odd_is_a ? rule_a : rule_b, other = odd_is_a ? rule_b : rule_a;
    const std::vector<Misfit>& misfits = odd_is_a ? a.misfits : b.misfits;
    Cause cause;
    cause.name = rules[odd].cause.empty() ? rules[other].cause : rules[odd].cause;
    cause.tensor = pair.name;
    cause.step = pair.a.step();
    cause.before = misfit_or_inf(misfits[other]);
    cause.after = misfits[odd].max;
    const char *const odd_name = odd_is_a ? "a" : "b", *const other_name = odd_is_a ? "b" : "a";
    const std::string misses =
        std::isfinite(cause.before)
            ? fmt::format("misses by {}, {}'s by {}", amount(cause.before), odd_name, amount(cause.after))
            : fmt::format("hides other keys, {}'s misses by {}", odd_name, amount(cause.after));
    cause.text = fmt::format("{} is {}, {} is {}; recomputed from {}'s inputs: {}'s rule {}", odd_name,
                             rules[odd].text, other_name, rules[other].text, odd_name, other_name, misses);
    return cause;
}

std::string stray_text(const char* good, const char* stray, const std::vector<StepRule>& rules,
                       const Followed& follows, const Followed& strays)
{
    const std::size_t rule = follows.rules.front();
    std::string text =
        fmt::format("{} is {} to {}; {} is {} away from it", good, rules[rule].text,
                    amount(follows.misfits[rule].max), stray, amount(misfit_or_inf(strays.misfits[rule])));
    if (rules.size() > 1)
        text += fmt::format(" and follows none of the {} rules tested", rules.size());
    if (strays.nearest != rule)
        text += fmt::format(" (nearest: {}, {} off)", rules[strays.nearest].text,
                            amount(misfit_or_inf(strays.misfits[strays.nearest])));
    return text;
}

}  // namespace

std::string amount(double value)
{
    return std::isfinite(value) ? fmt::format("{:.2g}", value) : "beyond measure";
}

double rounding_floor(const TraceTensor& tensor, const std::string& dtype)
{
    double largest = 0;
    for (float value : tensor.values)
        if (std::fabs(value) < masked_from)
            largest = std::max(largest, std::fabs(static_cast<double>(value)));
    const double unit = unit_roundoff(dtype);
    const double factor =
        dtype == "BF16" || dtype == "F16" ? 4 : 64;  // 16-bit steps round a few times, float32 sums many
    return factor * unit * largest;
}

Misfit misfit(const Predicted& predicted, const TraceTensor& found)
{
    Misfit result;
    if (!predicted || predicted->values.size() != found.values.size())
        return result;
    double sum = 0;
    std::int64_t count = 0;
    for (std::size_t i = 0; i < found.values.size(); ++i) {
        const double want = predicted->values[i], got = found.values[i];
        if (std::isnan(want))  // not computed
            continue;
        ++count;
        if (is_masked(want) && is_masked(got))
            continue;
        const double error = std::fabs(want - got);
        if (!std::isfinite(error) || is_masked(want) || is_masked(got)) {
            result.max = std::numeric_limits<double>::infinity();
            sum = std::numeric_limits<double>::infinity();
            continue;
        }
        result.max = std::max(result.max, error);
        sum += error * error;
    }
    result.measured = count > 0;
    result.rms = count > 0 ? std::sqrt(sum / static_cast<double>(count)) : 0;
    return result;
}

Judgement judge_by_rules(const Pair& pair, const std::vector<StepRule>& rules, double least_floor)
{
    Judgement judgement;
    const Numbers found_a = pair.a.find_at(pair.name, pair.a.places_of(pair.name)),
                  found_b = pair.b.find_at(pair.name, pair.b.places_of(pair.name));
    if (!found_a || !found_b) {
        judgement.text = "not recorded in both traces";
        return judgement;
    }
    // The usual case: both do what the references do, to a few units in the last place; no need to try the
    // mistakes.
    const Misfit usual_a = misfit_of_rule(rules[0], pair.a, pair.name, *found_a);
    const Misfit usual_b =
        usual_a.measured ? misfit_of_rule(rules[0], pair.b, pair.name, *found_b) : Misfit{};
    if (usual_a.measured && usual_b.measured &&
        usual_a.max <= plainly * rounding_floor(*found_a, pair.a.rounding_of(pair.name)) &&
        usual_b.max <= plainly * rounding_floor(*found_b, pair.b.rounding_of(pair.name))) {
        judgement.verdict = Verdict::explained;
        judgement.text = fmt::format("both are {} (to {} and {})", rules[0].text, amount(usual_a.max),
                                     amount(usual_b.max));
        judgement.tested.push_back({rules[0].text, rules[0].cause, usual_a.max, usual_b.max});
        return judgement;
    }
    const Followed a = follow(pair.a, pair.name, rules, *found_a, least_floor),
                   b = follow(pair.b, pair.name, rules, *found_b, least_floor);
    for (std::size_t i = 0; i < rules.size(); ++i)
        if (a.misfits[i].measured || b.misfits[i].measured)
            judgement.tested.push_back({rules[i].text, rules[i].cause,
                                        a.misfits[i].measured ? a.misfits[i].max : -1,
                                        b.misfits[i].measured ? b.misfits[i].max : -1});
    if (!a.any_measured || !b.any_measured) {
        judgement.text = "what it is computed from is not recorded in full in both traces";
        return judgement;
    }
    if (const std::size_t rule = common_rule(a, b, rules.size()); rule < rules.size()) {
        judgement.verdict = Verdict::explained;
        judgement.text = fmt::format("both are {} (to {} and {})", rules[rule].text,
                                     amount(a.misfits[rule].max), amount(b.misfits[rule].max));
    } else if (!a.rules.empty() && !b.rules.empty()) {
        judgement.verdict = Verdict::fault;
        judgement.causes.push_back(name_the_odd_one(pair, rules, a, b));
        judgement.text = judgement.causes.front().text;
    } else if (!a.rules.empty() || !b.rules.empty()) {
        judgement.verdict = Verdict::fault;
        judgement.text =
            a.rules.empty() ? stray_text("b", "a", rules, b, a) : stray_text("a", "b", rules, a, b);
    } else {
        judgement.text = fmt::format("neither follows any rule tested (nearest: a {}, {} off; b {}, {} off)",
                                     rules[a.nearest].text, amount(misfit_or_inf(a.misfits[a.nearest])),
                                     rules[b.nearest].text, amount(misfit_or_inf(b.misfits[b.nearest])));
    }
    return judgement;
}

}  // namespace pictor
