// The last state of each token to a score for every word of the vocabulary.
#pragma once

#include "reference/math/linear.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden [n_tokens][d_model], weight [n_vocabulary][d_model] -> logits [n_tokens][n_vocabulary].
Tensor lm_head(const Matrix& weight, const Tensor& hidden, const Recorder& record);

}  // namespace pictor
