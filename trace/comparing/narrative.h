// A comparison told: how the error grew from tensor to tensor, what was allowed and why, which steps are at
// fault.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "trace/comparing/compare.h"

namespace pictor {

struct Explanation;

// One of the states that flow from layer to layer, where the two were compared number by number.
struct GrowthPoint {
    const TensorComparison* tensor = nullptr;
};
std::vector<GrowthPoint> growth_of(const Comparison& comparison);

// Sentences: the error before the first difference, the jump there, and what became of it; in units of each
// tensor's own spread (root mean square error by standard deviation).
std::string growth_text(const Comparison& comparison);

// What rounding was allowed for where 16-bit numbers are compared; empty where none was.
std::string allowance_text(const Comparison& comparison, bool built_in);

// The faults in order, what is behind each, and whether the rest follows from them.
void print_explanation(std::ostream& out, const Explanation& explanation, const Comparison& comparison);

// The same into the document: per tensor "verdict" and "why", then "causes", "faults" and "explained".
void add_explanation(const Explanation& explanation, const Comparison& comparison, nlohmann::json& tensors,
                     nlohmann::json& result);

}  // namespace pictor
