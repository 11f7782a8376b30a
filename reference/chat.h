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

// One answer, streamed to standard output unless it is not `aloud`. `writer` may be null; whoever made it
// finishes it. Returns the text without special tokens, and the ids with them.
struct Answered {
    std::string text;
    std::vector<std::int64_t> ids;
};
Answered answer(const Model& model, const Tokenizer& tokenizer, const std::vector<std::int64_t>& token_ids,
                const PreparedImages& images, const Options& options, TraceWriter* writer, bool aloud = true);

// One answer to each line of standard input, the first to options.prompt when there is one. Every turn reads
// the whole conversation from its beginning, as both references do, so that an answer depends on nothing but
// what was said. A line that begins with / is a command; /help lists them.
void chat(const Model& model, const Tokenizer& tokenizer, const PreparedImages& images,
          const Options& options);

}  // namespace pictor
