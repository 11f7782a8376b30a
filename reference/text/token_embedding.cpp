#include "reference/text/token_embedding.h"

#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

Tensor embed_tokens(const Matrix& table, const std::vector<std::int64_t>& token_ids)
{
    Tensor embedded({std::ssize(token_ids), table.n_in});
    for (std::int64_t token = 0; token < std::ssize(token_ids); ++token) {
        const std::int64_t id = at(token_ids, token);
        // TRAP(embedding_rows_plus_8): `<|image|>` is the first of 8 rows after the vocabulary; the LM head
        // lacks them.
        if (id < 0 || id >= table.n_out)
            throw std::runtime_error(
                fmt::format("input_ids: token {} has id {}, but the embedding table has {} rows", token, id,
                            table.n_out));
        table.widen_row(id, embedded.row(token));
    }
    return embedded;
}

}  // namespace pictor
