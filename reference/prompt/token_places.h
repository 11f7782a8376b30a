// The tokens of a tokenizer's file, each put into the place that its id names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "reference/prompt/tokenizer_file.h"

namespace pictor {

inline constexpr std::int64_t max_token_id = 10'000'000;

[[noreturn]] void refuse_tokenizer(const std::filesystem::path& file, const std::string& why);

// Fills a table's pieces and kinds, n_tokens of them. Throws std::runtime_error naming the file when an id is
// out of range or two tokens have it.
class TokenPlaces {
public:
    TokenPlaces(const std::filesystem::path& file, std::size_t n_tokens, TokenizerFile& table);
    void put(std::int64_t id, const std::string& piece, TokenKind kind);

    // Each of the 256 bytes must be a token, or some texts could not be written at all.
    void require_every_byte() const;

private:
    const std::filesystem::path& file_;
    TokenizerFile& table_;
    std::vector<bool> taken_;
};

}  // namespace pictor
