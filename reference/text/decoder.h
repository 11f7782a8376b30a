// The text decoder: token ids in, logits out; images come in through the cross-attention layers.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "reference/text/cross_attention_mask.h"
#include "reference/text/kv_cache.h"
#include "reference/text/rope.h"
#include "trace/recording/recorder.h"

namespace pictor {

// One layer of each kind. hidden [n_tokens][d_model] -> the same shape; angles and mask: these tokens' rows;
// cache: keys and values of earlier tokens, to which these tokens add theirs; image: keys and values of the
// images, made from `images` when there are none yet.
Tensor text_self_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                       const RopeAngles& angles, KeysAndValues& cache, const Recorder& record);
Tensor text_cross_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                        const Tensor& images, const CrossAttentionMask& mask, KeysAndValues& image, Rule rule,
                        const Recorder& record);

// token_ids  the next tokens of the sequence: a whole prompt, or one generated token
// images     [n_images][n_tiles][n_patches][d_model], the projector's output; read only while the cache has
// no
//            keys of them
// mask       these tokens' rows; without images it is empty and the cross-attention layers are skipped
// cache      what earlier tokens left behind; these tokens are added
// returns    logits [n_tokens][n_vocabulary]
// Throws std::runtime_error when the sequence outgrows max_positions or an id is outside the table.
Tensor text_decoder(const TextWeights& weights, const TextConfig& config,
                    const std::vector<std::int64_t>& token_ids, const Tensor& images,
                    const CrossAttentionMask& mask, KvCache& cache, Rule rule, const Recorder& record);

}  // namespace pictor
