// Meta's tokenizer.model: a token in base64 and its rank on each line, and nothing else.
#pragma once

#include <filesystem>
#include <string_view>

#include "reference/prompt/tokenizer_file.h"

namespace pictor {

// What the file leaves out (the split pattern, the special tokens) is that of
// llama_models/llama3/tokenizer.py. Throws std::runtime_error naming the file and the line or token.
TokenizerFile read_ranked_tokens(const std::filesystem::path& file, std::string_view bytes);

}  // namespace pictor
