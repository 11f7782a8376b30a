// The two pipelines joined: pictures -> vision encoder -> projector -> cross-attention of the text decoder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "reference/checkpoint/config.h"
#include "reference/checkpoint/weights.h"
#include "reference/rule.h"
#include "reference/text/cross_attention_mask.h"
#include "reference/text/kv_cache.h"
#include "reference/vision/encoder.h"
#include "trace/recording/recorder.h"

namespace pictor {

struct Model {
    ModelConfig config;
    Weights weights;
    Rule rule = Rule::meta;
};

// Throws std::runtime_error naming the file and the fault.
Model load_model(const std::filesystem::path& folder, Rule rule);

// A sentence that is being read and written: what the model remembers of it.
struct Sequence {
    KvCache cache;
    CrossAttentionMask last_mask;  // of the tokens run last; continue_mask() makes the next rows from it
};

// First step. token_ids [n_tokens]; pictures may hold none; mask: rows of these tokens, ignored without
// pictures. Records step "prefill". Returns logits [n_tokens][n_vocabulary].
Tensor prefill(const Model& model, const std::vector<std::int64_t>& token_ids, const VisionInputs& images,
               const CrossAttentionMask& mask, Sequence& sequence, const Recorder& record);

// Later steps: the next tokens of the same sentence, which bring no picture of their own: one generated word,
// or a later turn of a conversation. Returns logits [n_tokens][n_vocabulary].
Tensor decode(const Model& model, const std::vector<std::int64_t>& token_ids, Sequence& sequence,
              const Recorder& record);

}  // namespace pictor
