// What a fuzzer throws bytes at: one function per reader of files from strangers, and per writer of pages.
//
// A target may be refused (std::runtime_error): that is what the readers promise. Anything else is a fault:
// another exception, a crash, a report of a sanitizer, a page that does not parse.
#pragma once

#include <array>
#include <string_view>

namespace pictor_fuzz {

struct Target {
    std::string_view name;
    void (*run)(std::string_view bytes);
};

// Files that belong together (config.json and generation_config.json, two traces) are one input, cut here.
constexpr std::string_view part_mark = "\n=part=\n";

extern const std::array<Target, 17> targets;

// Throws std::runtime_error when there is no such target, with the names of those there are.
const Target& find_target(std::string_view name);

// Runs a target; what the readers refuse is fine. Returns whether it was refused.
bool run_target(const Target& target, std::string_view bytes);

}  // namespace pictor_fuzz
