// A step of the model has a rule: how its output comes from its recorded inputs. Ports follow other rules.
// Here each trace is asked which rule it follows, by computing the step again from that trace's OWN inputs: a
// fault further up does not disturb the answer, so a second fault is found behind the first, and rounding is
// that of one step only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trace/comparing/policy.h"
#include "trace/explaining/causes.h"
#include "trace/explaining/side.h"

namespace pictor {

enum class Verdict {
    fault,      // the two traces do this step differently
    explained,  // both do the same with their inputs: shown by computing it again
    likely,     // no weights at hand: the step only propagates an earlier error
    unknown     // cannot be told from what is recorded
};

struct Cause {
    CauseName name;  // a trap's name where there is one
    std::string text;
    std::string tensor;
    std::int64_t step = 0;
    double before = 0;              // how far the odd one is from the other one's rule
    double after = 0;               // how far from the rule that this cause says it follows
    std::vector<std::string> also;  // later tensors of which the same holds
};

// One hypothesis, and how far each trace is from it (negative: could not be computed there).
struct Tested {
    std::string rule;
    CauseName cause;
    double a = -1, b = -1;
};

struct Judgement {
    Verdict verdict = Verdict::unknown;
    std::string text;
    std::vector<Cause> causes;
    std::vector<Tested> tested;
};

using Predicted = std::optional<TraceTensor>;

struct StepRule {
    CauseName cause;                                // empty: the references' own rule
    std::string text;                               // "tanh GELU of fc1"
    std::function<Predicted(const Side&)> predict;  // nothing: an input is not recorded
};

struct Misfit {
    double max = 0, rms = 0;
    bool measured = false;
};
// Where a mask says no both must say no.
Misfit misfit(const Predicted& predicted, const TraceTensor& found);

// What rounding alone may do to one step of a tensor: a few units in the last place of its largest number.
double rounding_floor(const TraceTensor& tensor, const std::string& dtype);

// The names under which a message speaks of the two traces.
struct Pair {
    const Side& a;
    const Side& b;
    std::string name;  // of the tensor
};

// The first rule is the references'. Fault when the two follow different rules, or one follows none. Where a
// step's inputs are rounded before it, its numbers may be off by `least_floor` however well it follows.
Judgement judge_by_rules(const Pair& pair, const std::vector<StepRule>& rules, double least_floor = 0);

// "3.1e-04", "no number" for infinity.
std::string amount(double value);

}  // namespace pictor
