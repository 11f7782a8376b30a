// What a tokenizer's file says, checked, before anything is done with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace pictor {

struct MergeRule {
    std::int64_t left = 0;
    std::int64_t right = 0;
    std::int64_t result = 0;  // ids; the rule's place in the list is its rank
};

enum class TokenKind : char { ordinary, added, special };  // added: found in every text, though not special

struct TokenizerFile {
    std::vector<std::string> pieces;  // by id: raw bytes; added and special tokens by their content
    std::vector<TokenKind> kinds;     // by id
    std::vector<MergeRule> merges;    // tokenizer.json only
    bool merges_by_rank =
        false;  // tokenizer.model: two parts merge when together they are a token; lowest id first
    bool whole_piece_first = false;  // a whole pre-token that is a token is taken as it is ("ignore_merges")
    bool cuts_long_runs = false;     // tokenizer.model: as Meta's Tokenizer.encode does
    std::string pattern;             // the split pattern
};

// Throws std::runtime_error naming the file, what was found, what would be right.
TokenizerFile read_tokenizer_file(const std::filesystem::path& file);

}  // namespace pictor
