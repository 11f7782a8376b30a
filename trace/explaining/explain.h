// What a comparison found, explained: which steps the two traces do differently, and which differences only
// follow.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "trace/comparing/compare.h"
#include "trace/explaining/rules.h"

namespace pictor {

struct ExplainOptions {
    std::filesystem::path model;  // a checkpoint's folder; empty: none at hand
    std::int64_t largest = std::int64_t{4}
                           << 20;  // numbers; a tensor with more is judged on some of them, if at all
};

// A step that the two do differently. Later tensors of the same kind with the same fault are counted, not
// repeated.
struct Fault {
    std::int64_t index = -1;  // of the first such tensor in the comparison
    std::string text;
    std::int64_t cause = -1;         // into Explanation::causes; -1: none that is known
    std::vector<std::int64_t> also;  // later tensors
};

struct Explanation {
    // By index in the comparison: every tensor that differs; between runs of other dtypes every tensor, for
    // what rounding to 16 bits allows is wide, and a step done differently shows in its own numbers all the
    // same.
    std::map<std::int64_t, Judgement> of_tensor;
    std::vector<Fault> faults;  // in the order of computation
    std::vector<Cause> causes;
    bool with_weights = false;
    std::int64_t count(Verdict verdict) const;
};

// A tensor within its tolerance whose step is done differently counts as different from here on. Throws
// std::runtime_error on a broken trace or checkpoint.
Explanation explain(Comparison& comparison, const Trace& a, const Trace& b, const ExplainOptions& options);

// relations.cpp: what turns b's tensor into a's where the same goes in: another order of heads, tiles,
// patches or layers, a sign, a factor.
std::vector<Cause> test_relations(const Pair& pair, std::vector<Tested>& tested);

std::string_view verdict_text(Verdict verdict);

}  // namespace pictor
