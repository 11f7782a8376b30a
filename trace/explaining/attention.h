// What masks.cpp and attention.cpp share.
#pragma once

#include <cstdint>
#include <functional>

#include "trace/explaining/steps.h"

namespace pictor {

bool is_cross(const NameParts& parts);

// "scores", "probs", ... of the attention that `parts` names.
Numbers in_attention(const Side& side, const NameParts& parts, const char* leaf);

// Scores or probabilities row by row: `row` among the rows of its head, `at` among all.
using ChangeRow = std::function<void(float* values, std::int64_t row, std::int64_t n_keys, std::int64_t at)>;
Predicted by_row(const Numbers& numbers, const ChangeRow& change);

}  // namespace pictor
