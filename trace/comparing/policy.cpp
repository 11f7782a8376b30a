#include "trace/comparing/policy.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/json_file.h"
#include "trace/recording/glob.h"

using nlohmann::json;

namespace pictor {
namespace {

// For runs whose rounding differs: float32 sums in another order, or numbers kept in 16 bits between steps.
// The errors of 16-bit runs are a share of each tensor's spread: beyond 8 units of roundoff of each number,
// golden/measure_noise.py
// --dtypes found no more than 63 units of the standard deviation, in BF16 as in F16; allowed is half as much
// again.
constexpr double units_of_spread = 96, units_of_value = 8;

Tolerance built_in(const Rounding& rounding)
{
    const double unit = unit_roundoff(rounding.dtype);
    if (rounding.dtype != "BF16" && rounding.dtype != "F16")
        return {1e-4, 1e-4};
    return {rounding.spread > 0 ? units_of_spread * unit * rounding.spread : 5 * unit, units_of_value * unit};
}

double tolerance_of(const json& value, const char* key, const std::string& where)
{
    const auto found = value.find(key);
    if (found == value.end())
        throw std::runtime_error(
            fmt::format("{}: has no \"{}\"; want {{\"atol\": A, \"rtol\": R}}", where, key));
    if (!found->is_number() || !(found->get<double>() >= 0))
        throw std::runtime_error(
            fmt::format("{}: \"{}\" is {}; want a number of 0 or more", where, key, brief_json(*found)));
    return found->get<double>();
}

std::size_t plain_characters(const std::string& glob)
{
    return static_cast<std::size_t>(
        std::count_if(glob.begin(), glob.end(), [](char c) { return c != '*' && c != '?'; }));
}

}  // namespace

double unit_roundoff(const std::string& dtype)
{
    return dtype == "BF16" ? 0x1p-8 : dtype == "F16" ? 0x1p-11 : 0x1p-24;
}

const std::string& coarser(const std::string& a, const std::string& b)
{
    return unit_roundoff(b) > unit_roundoff(a) ? b : a;
}

Policy::Policy(Tolerance everywhere) : everywhere_(everywhere) {}

Policy::Policy(const std::filesystem::path& file)
{
    const json document = read_json_object(file, "a JSON file of tolerances");
    if (document.empty())
        throw std::runtime_error(
            fmt::format("{}: want an object {{\"GLOB\": {{\"atol\": A, \"rtol\": R}}, ...}}", file.string()));
    for (const auto& [glob, value] : document.items()) {
        if (!glob.empty() && glob.front() == '_')  // a comment: tensor names do not begin like this
            continue;
        const std::string where = fmt::format("{}: \"{}\"", file.string(), glob);
        if (!value.is_object())
            throw std::runtime_error(where + ": want an object {\"atol\": A, \"rtol\": R}");
        globs_.emplace_back(
            glob, Tolerance{tolerance_of(value, "atol", where), tolerance_of(value, "rtol", where)});
    }
    std::stable_sort(globs_.begin(), globs_.end(), [](const auto& left, const auto& right) {
        return plain_characters(left.first) > plain_characters(right.first);
    });
}

Tolerance Policy::for_tensor(const TraceEntry& a, const TraceEntry& b, const Rounding& rounding) const
{
    for (const auto& [glob, tolerance] : globs_)
        if (glob_matches(glob, a.name))
            return tolerance;
    if (a.dtype == "I64" && b.dtype == "I64")
        return {0, 0};
    return everywhere_ ? *everywhere_ : built_in(rounding);
}

}  // namespace pictor
