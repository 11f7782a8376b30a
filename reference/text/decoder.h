// The text decoder: token ids in, logits out; pictures come in through the cross-attention layers.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "reference/text/cross_attention_mask.h"
#include "reference/text/kv_cache.h"
#include "reference/text/rope.h"
#include "trace/recording/recorder.h"

namespace pictor {

// One layer of each kind. hidden [n_tokens][d_model] -> the same shape; angles, mask: these tokens' rows;
// cache, picture: what earlier tokens left behind, to which these add theirs. picture keys are made from
// `pictures` when there are none yet.
Tensor text_self_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                       const RopeAngles& angles, KeysAndValues& cache, const Recorder& record);
Tensor text_cross_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                        const Tensor& images, const CrossAttentionMask& mask, KeysAndValues& picture,
                        Rule rule, const Recorder& record);

// token_ids               the next tokens of the sentence: a whole prompt, or one generated token
// pictures                [n_images][n_tiles][n_patches][d_model], the projector's output; read when the
// cache holds no
//                         picture keys yet, empty for text alone: then cross-attention layers are skipped
//                         altogether
// mask                    these tokens' rows (no images: not read)
// cache                   what earlier tokens left behind; these tokens are added
// returns                 logits [n_tokens][n_vocabulary]
// Throws std::runtime_error when the sentence outgrows max_positions or an id is outside the table.
Tensor text_decoder(const TextWeights& weights, const TextConfig& config,
                    const std::vector<std::int64_t>& token_ids, const Tensor& images,
                    const CrossAttentionMask& mask, KvCache& cache, Rule rule, const Recorder& record);

}  // namespace pictor
