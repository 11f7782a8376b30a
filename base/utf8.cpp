#include "base/utf8.h"

#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

Utf8Step next_character(std::string_view bytes)
{
    const auto first = static_cast<unsigned char>(bytes[0]);
    if (first < 0x80)
        return {1, Utf8::valid};
    if (first < 0xC2 || first > 0xF4)
        return {1, Utf8::invalid};
    const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    // The second byte has a narrower range after four of the first bytes: no overlong forms, surrogates, or
    // values beyond U+10FFFF.
    unsigned lowest = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned highest = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    for (std::size_t at = 1; at < length; ++at) {
        if (at == bytes.size())
            return {at, Utf8::incomplete};
        const auto byte = static_cast<unsigned char>(bytes[at]);
        if (byte < lowest || byte > highest)
            return {at, Utf8::invalid};
        lowest = 0x80;
        highest = 0xBF;
    }
    return {length, Utf8::valid};
}

void require_utf8(std::string_view text)
{
    for (std::size_t at = 0; at < text.size();) {
        const Utf8Step step = next_character(text.substr(at));
        if (step.kind != Utf8::valid)
            throw std::runtime_error(
                fmt::format("text is not UTF-8: byte 0x{:02X} at offset {}; convert it to UTF-8 first",
                            static_cast<unsigned char>(text[at]), at));
        at += step.length;
    }
}

char32_t code_point(std::string_view character)
{
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(character[at]); };
    switch (character.size()) {
    case 1:
        return byte(0);
    case 2:
        return (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
    case 3:
        return (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    default:
        return (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 | (byte(3) & 0x3Fu);
    }
}

std::string valid_utf8(std::string_view bytes)
{
    std::string text;
    for_each_character(bytes, [&](std::string_view character, char32_t) {
        text += character;
        return true;
    });
    return text;
}

}  // namespace pictor
