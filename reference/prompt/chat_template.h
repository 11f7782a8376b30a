// What a person says -> the ids the model reads. Follows llama_models' ChatFormat.encode_dialog_prompt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reference/prompt/tokenizer.h"

namespace pictor {

struct Turn {
    std::string role;  // "system", "user", "assistant"; "tool" is written "ipython"
    std::string text;  // plain text: "<|image|>" or "<|eot_id|>" in it are words, never special tokens
    std::int64_t n_images = 0;  // user turns only; their tokens stand before the text
};

// <|begin_of_text|>, then for each turn
// <|start_header_id|>ROLE<|end_header_id|>\n\n<|image|>...TEXT<|eot_id|>, then
// <|start_header_id|>assistant<|end_header_id|>\n\n for the model to go on.
// image_token: the model's own id (ModelConfig::image_token), whatever the tokenizer calls <|image|>.
// Text is taken as it stands, as llama_models 0.3.0 takes it; transformers' chat template trims it first.
// Throws std::runtime_error: no turns, an unknown role, images in a turn that is not the user's, text that is
// not UTF-8.
std::vector<std::int64_t> encode_chat(const Tokenizer& tokenizer, const std::vector<Turn>& turns,
                                      std::int64_t image_token);

// A prompt as it stands (--raw): special tokens in it are honoured, <|image|> becomes image_token, and BOS is
// put in front unless it is there already (also behind leading images).
std::vector<std::int64_t> encode_raw(const Tokenizer& tokenizer, std::string_view text,
                                     std::int64_t image_token);

// For a trace: each token's text (valid UTF-8, special tokens by name, image_token as <|image|>).
std::vector<std::string> token_texts(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                                     std::int64_t image_token);

// The whole prompt as one readable text with its special tokens.
std::string prompt_text(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids,
                        std::int64_t image_token);

}  // namespace pictor
