#include "trace/policy.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>

#include "trace/glob.h"

using nlohmann::json;

namespace pictor {
namespace {

// For runs whose rounding differs: float32 sums in another order, or numbers kept in 16 bits between steps.
Tolerance built_in(const std::string& dtype)
{
    if (dtype == "BF16") return {2e-2, 2e-2};
    if (dtype == "F16") return {2e-3, 2e-3};
    if (dtype == "I64") return {0, 0};
    return {1e-4, 1e-4};
}

double tolerance_of(const json& value, const char* key, const std::string& where)
{
    const auto found = value.find(key);
    if (found == value.end())
        throw std::runtime_error(fmt::format("{}: has no \"{}\"; want {{\"atol\": A, \"rtol\": R}}", where, key));
    if (!found->is_number() || !(found->get<double>() >= 0))
        throw std::runtime_error(fmt::format("{}: \"{}\" is {}; want a number of 0 or more", where, key, found->dump()));
    return found->get<double>();
}

std::size_t plain_characters(const std::string& glob)
{
    return static_cast<std::size_t>(std::count_if(glob.begin(), glob.end(), [](char c) { return c != '*' && c != '?'; }));
}

}  // namespace

Policy::Policy(Tolerance everywhere) : everywhere_(everywhere) {}

Policy::Policy(const std::filesystem::path& file)
{
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored))
        throw std::runtime_error(fmt::format("{}: no such file; want a JSON file of tolerances", file.string()));
    if (std::filesystem::file_size(file) > (1 << 24))
        throw std::runtime_error(fmt::format("{}: is larger than 16 MB; want a JSON file of tolerances", file.string()));
    json document;
    try {
        std::ifstream stream(file);
        document = json::parse(stream);
    } catch (const json::exception& error) {
        throw std::runtime_error(fmt::format("{}: is not valid JSON: {}", file.string(), error.what()));
    }
    if (!document.is_object() || document.empty())
        throw std::runtime_error(fmt::format("{}: want an object {{\"GLOB\": {{\"atol\": A, \"rtol\": R}}, ...}}", file.string()));
    for (const auto& [glob, value] : document.items()) {
        if (!glob.empty() && glob.front() == '_')  // a comment: tensor names do not begin like this
            continue;
        const std::string where = fmt::format("{}: \"{}\"", file.string(), glob);
        if (!value.is_object())
            throw std::runtime_error(where + ": want an object {\"atol\": A, \"rtol\": R}");
        globs_.emplace_back(glob, Tolerance{tolerance_of(value, "atol", where), tolerance_of(value, "rtol", where)});
    }
    std::stable_sort(globs_.begin(), globs_.end(), [](const auto& left, const auto& right) {
        return plain_characters(left.first) > plain_characters(right.first);
    });
}

Tolerance Policy::for_tensor(const TraceEntry& a, const TraceEntry& b) const
{
    for (const auto& [glob, tolerance] : globs_)
        if (glob_matches(glob, a.name))
            return tolerance;
    if (a.dtype == "I64" && b.dtype == "I64")
        return {0, 0};
    if (everywhere_)
        return *everywhere_;
    const Tolerance left = built_in(a.dtype), right = built_in(b.dtype);
    return {std::max(left.atol, right.atol), std::max(left.rtol, right.rtol)};
}

}  // namespace pictor
