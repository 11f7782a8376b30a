// Any tensor of a trace, or a part of one, as a picture: a cell for each number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "viz/run.h"

namespace pictor {

struct MatrixOptions {
    std::filesystem::path trace,
        beside;        // beside: another trace, drawn on the same scale, and the difference
    std::string name;  // "NAME" or "NAME[0,3,:8]"; at most two axes may be left open
    std::int64_t step = 0;
    std::filesystem::path output;
    Overwrite overwrite = Overwrite::same_kind;
};

// One open axis of the slice: its word, where it begins, and what its places are called.
struct MatrixAxis {
    std::string word;  // "token", "key", "channel"; empty: there is none
    std::int64_t first = 0, count = 1;
    std::vector<std::string> labels;  // one a place: the tokens' texts; empty: numbers
};

struct MatrixCells {
    std::string title;  // "language_model.layers.3.cross_attn.probs[0,:,:], step 0"
    MatrixAxis down, across;
    std::vector<double> values;  // [down][across]
    bool masked(std::size_t i) const { return values[i] < -1e37; }
};

// Throws when more than two axes are open, and when a side is longer than a picture can show, with a slice
// that would be right.
MatrixCells read_matrix(const Run& run, const std::string& name, std::int64_t step);

// The matrix as SVG; with another one beside it on the same scale, and the difference of the two.
std::string matrix_drawing(const MatrixCells& matrix, const MatrixCells* other, const std::string& name,
                           const std::string& other_name);

// Draws and returns the file written.
std::filesystem::path run_matrix(const MatrixOptions& options);

}  // namespace pictor
