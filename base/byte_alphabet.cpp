#include "base/byte_alphabet.h"

#include <array>

#include "base/at.h"
#include "base/utf8.h"

namespace pictor {
namespace {

constexpr std::size_t alphabet_end = 0x144;

// Printable Latin-1 characters stand for themselves, the other 68 bytes for U+0100 onwards.
// Returns the byte of each code point, or -1.
std::array<int, alphabet_end> bytes_of_alphabet()
{
    std::array<int, alphabet_end> byte_of;
    byte_of.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
        const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        at(byte_of, printable ? byte : next++) = byte;
    }
    return byte_of;
}

}  // namespace

std::optional<std::string> bytes_of_token(std::string_view token)
{
    static const std::array<int, alphabet_end> byte_of = bytes_of_alphabet();
    std::string bytes;
    for (std::size_t at = 0; at < token.size();) {
        const Utf8Step step = next_character(token.substr(at));
        if (step.kind != Utf8::valid)
            return std::nullopt;
        const char32_t character = code_point(token.substr(at, step.length));
        if (character >= byte_of.size() || byte_of[character] < 0)
            return std::nullopt;
        bytes += static_cast<char>(byte_of[character]);
        at += step.length;
    }
    return bytes;
}

}  // namespace pictor
