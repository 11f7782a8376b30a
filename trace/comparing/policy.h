// How far two numbers may be apart: ok = |a - b| <= atol + rtol * |b|.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trace/reading/reader.h"

namespace pictor {

struct Tolerance {
    double atol = 0;
    double rtol = 0;
};

// Between two runs that round differently: the coarsest dtype that either has computed with so far, and the
// standard deviation of the tensor (0: not known).
struct Rounding {
    std::string dtype = "F32";
    double spread = 0;
};
double unit_roundoff(const std::string& dtype);  // 2^-8 of BF16, 2^-11 of F16, 2^-24 of F32
const std::string& coarser(const std::string& a, const std::string& b);

class Policy {
public:
    Policy() = default;  // the built-in tolerances, by dtype
    explicit Policy(Tolerance everywhere);
    // JSON: {"GLOB": {"atol": A, "rtol": R}, ...} over tensor names. The glob with the most plain characters
    // wins; a name that none matches gets the built-in tolerance. Throws std::runtime_error.
    explicit Policy(const std::filesystem::path& file);

    // Whole numbers (I64 on both sides) must be equal unless a glob says otherwise.
    Tolerance for_tensor(const TraceEntry& a, const TraceEntry& b, const Rounding& rounding) const;
    Tolerance for_tensor(const TraceEntry& a, const TraceEntry& b) const
    {
        return for_tensor(a, b, {coarser(a.dtype, b.dtype), 0});
    }
    bool is_built_in() const { return !everywhere_ && globs_.empty(); }

private:
    std::optional<Tolerance> everywhere_;
    std::vector<std::pair<std::string, Tolerance>> globs_;
};

}  // namespace pictor
