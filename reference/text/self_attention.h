// Text tokens look back at the sequence: causal attention, several query heads sharing a key head.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/text/kv_cache.h"
#include "reference/text/rope.h"
#include "trace/recording/recorder.h"

namespace pictor {

// hidden   [n_tokens][d_model]   normalised input of the layer
// angles                         of these tokens' positions
// cache                          keys and values of earlier tokens; these tokens' are added
// returns  [n_tokens][d_model]   to be added to the residual by the caller
// Follows MllamaTextSelfAttention and Meta's Attention.forward.
Tensor self_attention(const SelfAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                      const RopeAngles& angles, KeysAndValues& cache, const Recorder& record);

}  // namespace pictor
