// Where two traces part: every tensor of both, in the order of computation, number by number.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "trace/comparing/policy.h"
#include "trace/reading/reader.h"

namespace pictor {

struct CompareOptions {
    Policy policy;
    std::vector<std::string> only;  // globs over names; empty: every tensor
    bool common = false;            // a tensor that one side lacks is no difference
    bool extra_is_fine = false;     // neither is one that only A has
    bool flat = false;              // other shapes with as many numbers are compared in row-major order
    std::string dtype;       // "F32", "BF16", "F16": what both mean to compute in; empty: as the runs say
    bool generated = false;  // generated.token_ids of B must be A's too
};

// Two values of one element.
struct ElementPair {
    std::int64_t position = -1;  // row-major; -1: there is none
    double a = 0, b = 0;
};

struct TensorComparison {
    std::string name;
    std::int64_t step = 0;
    const TraceEntry* a = nullptr;  // belong to the traces
    const TraceEntry* b = nullptr;
    bool same = false;
    std::string rounding = "F32";  // the coarsest dtype that either trace has computed with up to here
    bool named_by_b = false;       // B has the better words for the axes, A only axis0, axis1, ...
    std::string problem;           // what keeps it from being compared at all: shapes, statistics
    std::string how;               // "all", "sample", "statistics"
    Tolerance tolerance;
    std::int64_t compared = 0;  // numbers
    std::int64_t off = 0;       // numbers further apart than the tolerance
    double max_error = 0;       // infinite where a NaN or an infinity has no equal
    double relative_error = 0;  // max_error by the standard deviation of B's tensor
    double rms_error = 0;       // over the numbers that are finite in both and no mask's
    double relative_rms = 0;    // rms_error by the same standard deviation
    ElementPair worst;          // the largest error
    ElementPair first;          // the first number that is off
};

struct Explanation;  // trace/explaining/explain.h

struct Comparison {
    std::vector<TensorComparison> tensors;          // in A's order, those both have
    std::vector<const TraceEntry*> only_a, only_b;  // in their own order
    std::string generated_problem;                  // empty: none
    std::int64_t first_different = -1;              // index into tensors
    std::int64_t narrowed =
        -1;  // where one of the two falls from 32 bits to 16, though nobody said it should
    std::vector<std::string> notes;  // how tensors of other shapes were compared all the same
    bool same = false;
    std::string rounding = "F32";                    // the coarsest dtype of either trace
    std::shared_ptr<const Explanation> explanation;  // of the differences; empty: none was asked for
};

// The entry whose axes and shape name the elements.
inline const TraceEntry& naming_entry(const TensorComparison& tensor)
{
    return tensor.named_by_b ? *tensor.b : *tensor.a;
}

// Streams both traces; memory stays at a few blocks per thread. Throws std::runtime_error on a broken trace,
// and when there is nothing to compare.
Comparison compare_traces(const Trace& a, const Trace& b, const CompareOptions& options);

// The first difference in words, and the tensors around it.
void print_comparison(std::ostream& out, const Comparison& comparison, const Trace& a, const Trace& b,
                      const CompareOptions& options);
nlohmann::json comparison_json(const Comparison& comparison, const Trace& a, const Trace& b);

}  // namespace pictor
