// An index into a tensor, in the words of its axes: "head 3, token 5 \"cat\", key 120 = image 0 tile 1 patch
// 19".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trace/reading/reader.h"

namespace pictor {

class Places {
public:
    // What the trace says about its words and tiles; a trace that says nothing gets plain numbers.
    explicit Places(const Trace& trace);

    std::string describe(const TraceEntry& entry, std::int64_t position) const;

private:
    std::string token_text(std::int64_t token) const;
    std::string key_text(const TraceEntry& entry, const std::string& axis, std::int64_t key) const;
    std::string patch_text(std::int64_t patch) const;

    std::vector<std::string> tokens_;        // of the prompt, then of the answer
    std::vector<std::int64_t> first_token_;  // of each step
    std::int64_t max_tiles_ = 0;
    std::int64_t patches_per_side_ = 0;
};

}  // namespace pictor
