#include "base/shown_text.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace pictor {
namespace {

bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c <= 0x9F); }

// Overrides and isolates would turn the rest of a line around.
bool turns_the_line(char32_t c)
{
    return (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F ||
           c == 0x061C;
}

bool is_noncharacter(char32_t c) { return (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE; }

}  // namespace

std::string terminal_text(std::string_view text)
{
    std::string result;
    for_each_character(text, [&](std::string_view character, char32_t c) {
        if (c == '\n' || c == '\t' || !(is_control(c) || turns_the_line(c) || c == 0x2028 || c == 0x2029))
            result += character;
        else
            result += c < 0x100 ? fmt::format("\\x{:02X}", std::uint32_t{c})
                                : fmt::format("\\u{:04X}", std::uint32_t{c});
        return true;
    });
    return result;
}

std::string escape_markup(std::string_view text)
{
    std::string result;
    for_each_character(text, [&](std::string_view character, char32_t c) {
        switch (c) {
        case '&':
            result += "&amp;";
            break;
        case '<':
            result += "&lt;";
            break;
        case '>':
            result += "&gt;";
            break;
        case '"':
            result += "&quot;";
            break;
        case '\'':
            result += "&#39;";
            break;
        default:
            result += (is_control(c) && c != '\n' && c != '\t') || is_noncharacter(c)
                          ? std::string_view(replacement_character)
                          : character;
        }
        return true;
    });
    return result;
}

std::string nonce_of(std::string_view text)
{
    std::uint64_t hash = 14695981039346656037u;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    return fmt::format("{:016x}", hash);
}

std::string visible_text(std::string_view text, std::size_t most)
{
    std::string result;
    std::size_t count = 0;
    for_each_character(text, [&](std::string_view character, char32_t c) {
        if (++count > most) {
            result += "\u2026";
            return false;
        }
        if (c == '\n')
            result += "\u21B5";
        else if (c == '\t')
            result += "\u21E5";
        else
            result +=
                is_control(c) || turns_the_line(c) ? std::string_view(replacement_character) : character;
        return true;
    });
    return result;
}

std::string in_quotes(std::string_view text)
{
    constexpr std::size_t most = 48;
    std::string shown;
    for (const char letter : terminal_text(text.substr(0, most)))
        shown += letter == '\n' ? "\\n" : letter == '\t' ? "\\t" : std::string(1, letter);
    return fmt::format("'{}{}'", shown, text.size() > most ? "..." : "");
}

}  // namespace pictor
