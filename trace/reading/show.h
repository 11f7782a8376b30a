// `trace show`: what a trace holds, and one tensor of it.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "trace/reading/reader.h"

namespace pictor {

// Producer, prompt, steps, and the tree of a step's tensors; unless `all`, on one screen: of many layers a
// line each stack.
void show_trace(std::ostream& out, const Trace& trace, std::int64_t step, bool all = false);

// The numbers a slice names: per axis the first index, one past the last, and whether the axis stands for one
// index.
struct SliceAxis {
    std::int64_t first = 0, last = 0;
    bool single = false;
};

// "NAME" or "NAME[0,3,:8]": per axis an index, a range FIRST:LAST (either may be left out), or nothing for
// all; negative numbers count from the end. Missing axes are whole.
struct SliceRequest {
    std::string name;
    std::string indices;  // between the brackets
    bool given = false;
};
SliceRequest parse_slice_request(const std::string& text);  // throws
std::vector<SliceAxis> parse_slice(const std::string& indices,
                                   const std::vector<std::int64_t>& shape);  // throws

// Statistics, a histogram, and the numbers of the slice (the first few without one).
void show_tensor(std::ostream& out, const Trace& trace, const std::string& name, std::int64_t step);

// The tensor of that name; throws with names that are close.
const TraceEntry& find_or_suggest(const Trace& trace, const std::string& name, std::int64_t step);

}  // namespace pictor
