// An index into a tensor, in the words of its axes: "head 3, token 5 \"cat\", key 120 = image 0 tile 1 patch
// 19".
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trace/reading/reader.h"

namespace pictor {

class Places {
public:
    // What the trace says about its words and tiles; a trace that says nothing gets plain numbers.
    explicit Places(const Trace& trace);

    std::string describe(const TraceEntry& entry, std::int64_t position) const;
    // "token 27 \" black\"", by its place in the sequence.
    std::string token(std::int64_t token) const;
    // A row of the vision encoder or a key of cross-attention, by where it lies in its image: "patch row 8
    // column 3", "the class token of tile 2", "padding row 1 of tile 0", "patch row 1 column 2 of absent tile
    // 3". `padded`: rows of a tile are filled up to a multiple of 8. The image is named when there are
    // several.
    std::string patch(std::int64_t row, bool padded) const;
    std::int64_t first_token(std::int64_t step) const;

private:
    std::string token_text(std::int64_t token) const;
    std::string key_text(const TraceEntry& entry, const std::string& axis, std::int64_t key) const;
    std::string patch_text(std::int64_t patch) const;

    std::vector<std::string> tokens_;        // of the prompt, then of the answer
    std::vector<std::int64_t> first_token_;  // of each step
    std::int64_t max_tiles_ = 0;
    std::int64_t patches_per_side_ = 0;
    std::vector<std::pair<std::int64_t, std::int64_t>> grids_;  // tiles [h][w] of each image
};

}  // namespace pictor
