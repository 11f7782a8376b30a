#include "reference/prompt/token_places.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"

namespace pictor {

void refuse_tokenizer(const std::filesystem::path& file, const std::string& why)
{
    throw std::runtime_error(fmt::format("{}: {}", file.string(), why));
}

TokenPlaces::TokenPlaces(const std::filesystem::path& file, std::size_t n_tokens, TokenizerFile& table)
    : file_(file), table_(table), taken_(n_tokens)
{
    table_.pieces.resize(n_tokens);
    table_.kinds.resize(n_tokens, TokenKind::ordinary);
}

void TokenPlaces::put(std::int64_t id, const std::string& piece, TokenKind kind)
{
    if (id >= std::ssize(taken_))
        refuse_tokenizer(
            file_, fmt::format("token {} has the id {}, but there are {} tokens: ids run from 0 without gaps",
                               in_quotes(piece), id, taken_.size()));
    if (at(taken_, id))
        refuse_tokenizer(file_, fmt::format("the tokens {} and {} both have the id {}",
                                            in_quotes(at(table_.pieces, id)), in_quotes(piece), id));
    at(taken_, id) = true;
    at(table_.pieces, id) = piece;
    at(table_.kinds, id) = kind;
}

void TokenPlaces::require_every_byte() const
{
    std::array<bool, 256> present{};
    for (std::size_t id = 0; id < table_.pieces.size(); ++id)
        if (table_.kinds[id] == TokenKind::ordinary && table_.pieces[id].size() == 1)
            present[static_cast<unsigned char>(table_.pieces[id][0])] = true;
    const auto missing = std::find(present.begin(), present.end(), false);
    if (missing != present.end())
        refuse_tokenizer(file_,
                         fmt::format("no token for the byte 0x{:02X}; a byte-level vocabulary has all 256",
                                     missing - present.begin()));
}

}  // namespace pictor
