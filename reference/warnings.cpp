#include "reference/warnings.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

namespace pictor {
namespace {

template <std::size_t n> bool is_one_of(std::string_view word, const std::array<std::string_view, n>& words)
{
    return std::find(words.begin(), words.end(), word) != words.end();
}

// "What's in THIS image?" -> what's in this image
std::vector<std::string> lower_words(std::string_view text)
{
    std::vector<std::string> words(1);
    for (const char c : text) {
        const bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        if (upper || lower || c == '\'')
            words.back() += static_cast<char>(upper ? c + 32 : c);
        else if (!words.back().empty())
            words.emplace_back();
    }
    return words;
}

}  // namespace

std::string blind_words_warning(std::int64_t n_images, Rule rule, std::int64_t max_new_tokens)
{
    if (n_images < 2 || rule != Rule::meta || max_new_tokens < 2)
        return "";
    return fmt::format("{} pictures under Meta's rule: the rows of generated words see none of them; "
                       "--reference transformers lets them see the last",
                       n_images);
}

std::string missing_picture_warning(std::string_view question, std::int64_t n_images)
{
    static constexpr std::array<std::string_view, 8> pointing{"this", "the",  "that",  "these",
                                                              "my",   "your", "those", "attached"};
    static constexpr std::array<std::string_view, 10> nouns{"image",      "picture", "photo",    "photograph",
                                                            "screenshot", "images",  "pictures", "photos",
                                                            "drawing",    "diagram"};
    if (n_images > 0)
        return "";
    const std::vector<std::string> words = lower_words(question);
    for (std::size_t i = 1; i < words.size(); ++i)
        if (is_one_of(words[i], nouns) && is_one_of(words[i - 1], pointing))
            return fmt::format("the question speaks of \"{} {}\", but the model is shown none; "
                               "--image FILE shows it one",
                               words[i - 1], words[i]);
    return "";
}

std::string long_chat_warning(std::int64_t n_turns, std::int64_t n_tokens, const ModelConfig& config)
{
    if (n_tokens >= config.text.max_positions)
        return fmt::format("the conversation has reached {} tokens, all that the model has positions for; "
                           "/reset begins a new one",
                           n_tokens);
    if (config.trained_turns > 0 && n_turns > config.trained_turns)
        return fmt::format(
            "turn {}: the model was trained on conversations of up to {} turns, so its answers "
            "may get worse; /reset begins a new one",
            n_turns, config.trained_turns);
    return "";
}

void Warnings::say(const std::string& kind, const std::string& text)
{
    if (!text.empty() && said_.insert(kind).second)
        fmt::print(stderr, "reference: warning: {}\n", text);
}

}  // namespace pictor
