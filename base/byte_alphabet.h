// GPT-2's alphabet of bytes: how a byte-level vocabulary spells tokens with printable characters, one a byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pictor {

// "Ġthe" -> " the"; nothing when a character does not belong to the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace pictor
