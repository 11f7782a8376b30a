// What a run says on standard error, each thing once, when it will not do what was probably meant. A warning
// never changes what is computed nor the exit code.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "reference/model.h"

namespace pictor {

// Each: the warning, or an empty text when there is nothing to warn of.

// Under Meta's rule several pictures leave generated words blind; text/cross_attention_mask.cpp marks the
// trap.
std::string blind_words_warning(std::int64_t n_images, Rule rule, std::int64_t max_new_tokens);

// "What is in this image?", asked without one.
std::string missing_picture_warning(std::string_view question, std::int64_t n_images);

// A conversation of more turns, or more tokens, than the model has been trained on.
std::string long_chat_warning(std::int64_t n_turns, std::int64_t n_tokens, const ModelConfig& config);

class Warnings {
public:
    // "reference: warning: TEXT" on standard error, unless the text is empty or one of this kind was said.
    void say(const std::string& kind, const std::string& text);

private:
    std::set<std::string> said_;
};

}  // namespace pictor
