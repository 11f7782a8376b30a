// UTF-8, character by character, and with what cannot be a character replaced.
#pragma once

#include <string>
#include <string_view>

namespace pictor {

constexpr const char* replacement_character = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8 { valid, invalid, incomplete };

struct Utf8Step {
    std::size_t length = 0;  // bytes of the character, or of the run that cannot be one
    Utf8 kind = Utf8::valid;
};

// The character at the front of `bytes`, which are not empty. incomplete: they end before it does.
Utf8Step next_character(std::string_view bytes);

// The number of a character; `character` is one valid UTF-8 sequence.
char32_t code_point(std::string_view character);

// Calls visit(bytes, code point) for one character after another until it returns false; a run that cannot be
// UTF-8 comes as U+FFFD.
template <typename Visit> void for_each_character(std::string_view text, const Visit& visit)
{
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Step step = next_character(text.substr(at));
        const std::string_view character =
            step.kind == Utf8::valid ? text.substr(at, step.length) : std::string_view(replacement_character);
        if (!visit(character, code_point(character)))
            return;
        at += step.length;
    }
}

// Throws std::runtime_error with the byte and its offset.
void require_utf8(std::string_view text);

// `bytes` with every maximal run that cannot be UTF-8 replaced by U+FFFD, for JSON and the terminal. Follows
// the Unicode standard's "substitution of maximal subparts", as Python and Rust do.
std::string valid_utf8(std::string_view bytes);

}  // namespace pictor
