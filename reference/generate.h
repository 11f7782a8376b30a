// Prompt and pictures to words, one at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "reference/model.h"
#include "reference/text/sampler.h"
#include "trace/recording/recorder.h"

namespace pictor {

struct GenerateInputs {
    std::vector<std::int64_t> token_ids;
    VisionInputs images;      // none: text alone
    CrossAttentionMask mask;  // rows of token_ids; ignored without pictures
};

struct GenerateOptions {
    SamplingOptions sampling;
    std::int64_t max_new_tokens = 128;
    bool stop_at_end_token = true;  // an end token is the last id returned
};

// Runs the prompt, then one step for each generated token but the last, after which nothing is predicted.
// `writer` may be null; `on_token` is told each id as soon as it is known. With max_new_tokens 0 only the
// prompt runs. Throws std::runtime_error for inputs that do not fit the model, and when a logit is NaN or
// infinite; a trace is then finished first, since it shows where that began.
std::vector<std::int64_t> generate(const Model& model, const GenerateInputs& inputs,
                                   const GenerateOptions& options, TraceWriter* writer,
                                   const std::function<void(std::int64_t)>& on_token);

}  // namespace pictor
