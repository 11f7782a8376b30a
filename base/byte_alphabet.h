// GPT-2's alphabet of bytes: how a byte-level vocabulary spells tokens with printable characters, one a byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pictor {

// What a tokenizer.json may hold: Llama 3's has 17 MB and 1.1 million values.
constexpr std::uint64_t most_tokenizer_bytes = 256u << 20;
constexpr std::uint64_t most_tokenizer_values = 6'000'000;

// "Ġthe" -> " the"; nothing when a character does not belong to the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace pictor
