// The three tensors between an attention's queries and its context, for the recorder and the debugger.
#pragma once

#include <cstdint>
#include <string_view>

#include "reference/math/tensor.h"
#include "trace/recording/recorder.h"

namespace pictor {

// One row per query, one column per key. A long prompt's scores would not fit in memory for all heads at
// once, so a block holds some queries of one head and is filled again and again.
struct ScoreBlock {
    Tensor scores;         // [n_rows][n_keys]: query times key, scaled
    Tensor masked_scores;  // the lowest float where the query may not see the key
    Tensor probs;          // softmax over the keys

    // Begins to record. shape [..., n_queries, n_keys] and axes: of each recorded tensor as a whole.
    ScoreBlock(const Recorder& record, std::string_view axes, const Shape& shape, std::int64_t most_rows,
               SourcePlace where = SourcePlace::caller());

    std::int64_t n_rows() const { return scores.extent(0); }

    // Records the first n_rows rows, which follow those recorded before.
    void append(std::int64_t n_rows);

    // Completes the three recorded tensors.
    void finish();

private:
    RecordedRows recorded_scores_, recorded_masked_scores_, recorded_probs_;
};

}  // namespace pictor
