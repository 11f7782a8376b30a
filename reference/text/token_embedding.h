// Token ids to rows of the embedding table.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/math/linear.h"

namespace pictor {

// table [n_vocabulary + 8][d_model] -> [n_tokens][d_model].
// Throws std::runtime_error for an id outside the table.
Tensor embed_tokens(const Matrix& table, const std::vector<std::int64_t>& token_ids);

}  // namespace pictor
