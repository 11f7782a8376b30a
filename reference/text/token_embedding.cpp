#include "reference/text/token_embedding.h"

#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

Tensor embed_tokens(const Matrix& table, const std::vector<std::int64_t>& token_ids)
{
    Tensor embedded({static_cast<std::int64_t>(token_ids.size()), table.n_in});
    for (std::size_t token = 0; token < token_ids.size(); ++token) {
        const std::int64_t id = token_ids[token];
        // TRAP(embedding_rows_plus_8): `<|image|>` is the first of 8 rows after the vocabulary; the LM head
        // lacks them.
        if (id < 0 || id >= table.n_out)
            throw std::runtime_error(
                fmt::format("input_ids: token {} has id {}, but the embedding table has {} rows", token, id,
                            table.n_out));
        table.widen_row(id, embedded.row(static_cast<std::int64_t>(token)));
    }
    return embedded;
}

}  // namespace pictor
