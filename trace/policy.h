// How far two numbers may be apart: ok = |a - b| <= atol + rtol * |b|.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trace/reader.h"

namespace pictor {

struct Tolerance {
    double atol = 0;
    double rtol = 0;
};

class Policy {
public:
    Policy() = default;                           // the built-in tolerances, by dtype
    explicit Policy(Tolerance everywhere);
    // JSON: {"GLOB": {"atol": A, "rtol": R}, ...} over tensor names. The glob with the most plain characters wins; a name
    // that none matches gets the built-in tolerance. Throws std::runtime_error.
    explicit Policy(const std::filesystem::path& file);

    // Whole numbers (I64 on both sides) must be equal unless a glob says otherwise.
    Tolerance for_tensor(const TraceEntry& a, const TraceEntry& b) const;

private:
    std::optional<Tolerance> everywhere_;
    std::vector<std::pair<std::string, Tolerance>> globs_;
};

}  // namespace pictor
