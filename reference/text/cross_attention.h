// Text tokens look at the pictures.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "reference/text/cross_attention_mask.h"
#include "reference/text/kv_cache.h"
#include "trace/recording/recorder.h"

namespace pictor {

// Keys and values of all pictures for one layer, made once and kept while words are generated.
// pictures [n_images][n_tiles][n_patches][d_model], the projector's output; keys run image, tile, patch.
KeysAndValues image_keys_and_values(const CrossAttentionWeights& weights, const TextConfig& config,
                                    const Tensor& images, const Recorder& record);

// hidden   [n_tokens][d_model]   normalised input of the layer
// picture                        from image_keys_and_values()
// mask                           rows of these tokens
// returns  [n_tokens][d_model]   to be gated and added to the residual by the caller
// Follows MllamaTextCrossAttention and Meta's CrossAttention.forward.
Tensor cross_attention(const CrossAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                       const KeysAndValues& picture, const CrossAttentionMask& mask, Rule rule,
                       const Recorder& record);

}  // namespace pictor
