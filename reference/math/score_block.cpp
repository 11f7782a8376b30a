#include "reference/math/score_block.h"

#include <algorithm>

namespace pictor {

ScoreBlock::ScoreBlock(const Recorder& record, std::string_view axes, const Shape& shape,
                       std::int64_t most_rows, SourcePlace where)
    : recorded_scores_(record.begin("scores", axes, shape, where)),
      recorded_masked_scores_(record.begin("masked_scores", axes, shape, where)),
      recorded_probs_(record.begin("probs", axes, shape, where))
{
    const std::int64_t n_queries = shape[shape.size() - 2], n_keys = shape.back();
    scores = masked_scores = probs = Tensor({std::min(most_rows, n_queries), n_keys});
}

void ScoreBlock::append(std::int64_t n_rows)
{
    const std::int64_t count = n_rows * scores.extent(1);
    recorded_scores_.append(scores.data(), count);
    recorded_masked_scores_.append(masked_scores.data(), count);
    recorded_probs_.append(probs.data(), count);
}

void ScoreBlock::finish()
{
    recorded_scores_.finish();
    recorded_masked_scores_.finish();
    recorded_probs_.finish();
}

}  // namespace pictor
