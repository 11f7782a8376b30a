// Answers, printed as they come.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reference/image/prepare.h"
#include "reference/model.h"
#include "reference/options.h"
#include "reference/prompt/tokenizer.h"
#include "trace/recording/recorder.h"

namespace pictor {

// One answer, streamed to standard output. `writer` may be null. Returns the text without special tokens.
std::string answer(const Model& model, const Tokenizer& tokenizer, const std::vector<std::int64_t>& token_ids,
                   const PreparedImages& images, const Options& options, TraceWriter* writer);

// One answer to each line of standard input, the first to options.prompt when there is one. Every turn reads
// the whole conversation from its beginning, as both references do, so that an answer depends on nothing but
// what was said.
void chat(const Model& model, const Tokenizer& tokenizer, const PreparedImages& images,
          const Options& options);

}  // namespace pictor
