// Text tokens look at the images.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "reference/text/cross_attention_mask.h"
#include "reference/text/kv_cache.h"
#include "trace/recording/recorder.h"

namespace pictor {

// The images' keys and values for one layer, made once and kept while tokens are generated.
// images  [n_images][n_tiles][n_patches][d_model]   the projector's output; keys run image, tile, patch
KeysAndValues image_keys_and_values(const CrossAttentionWeights& weights, const TextConfig& config,
                                    const Tensor& images, const Recorder& record);

// hidden   [n_tokens][d_model]   normalised input of the layer
// image                          from image_keys_and_values(): all images, one after the other
// mask                           rows of these tokens
// returns  [n_tokens][d_model]   to be gated and added to the residual by the caller
// Follows MllamaTextCrossAttention and Meta's CrossAttention.forward.
Tensor cross_attention(const CrossAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                       const KeysAndValues& image, const CrossAttentionMask& mask, Rule rule,
                       const Recorder& record);

}  // namespace pictor
