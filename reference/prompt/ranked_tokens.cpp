#include "reference/prompt/ranked_tokens.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "reference/prompt/token_places.h"

namespace pictor {
namespace {

// The split pattern of Llama 3, which tokenizer.model does not carry (llama_models/llama3/tokenizer.py).
// TRAP(case_insensitive_contractions): (?i:) folds as Unicode does, so the long s, U+017F, is an s there and
// nowhere else.
constexpr const char* llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

int base64_value(char letter)
{
    if (letter >= 'A' && letter <= 'Z')
        return letter - 'A';
    if (letter >= 'a' && letter <= 'z')
        return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9')
        return letter - '0' + 52;
    if (letter == '+')
        return 62;
    if (letter == '/')
        return 63;
    return -1;
}

std::optional<std::string> decode_base64(std::string_view text)
{
    if (text.empty() || text.size() % 4 != 0)
        return std::nullopt;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    std::string bytes;
    unsigned bits = 0;
    for (std::size_t at = 0; at < text.size() - padding; ++at) {
        const int value = base64_value(text[at]);
        if (value < 0)
            return std::nullopt;
        bits = (bits << 6 | static_cast<unsigned>(value)) & 0xFFFFFFu;
        if (at % 4 == 1)
            bytes += static_cast<char>(bits >> 4 & 0xFFu);
        if (at % 4 == 2)
            bytes += static_cast<char>(bits >> 2 & 0xFFu);
        if (at % 4 == 3)
            bytes += static_cast<char>(bits & 0xFFu);
    }
    return bytes;
}

struct RankedToken {
    std::string bytes;
    std::int64_t rank = 0;
};

RankedToken read_ranked_token(const std::filesystem::path& file, std::string_view line, std::size_t number)
{
    const std::size_t space = line.find(' ');
    const std::optional<std::string> bytes = decode_base64(line.substr(0, space));
    std::int64_t rank = -1;
    if (space != std::string_view::npos) {
        const char* const end = line.data() + line.size();
        const auto [stop, error] = std::from_chars(line.data() + space + 1, end, rank);
        if (error != std::errc() || stop != end)
            rank = -1;
    }
    if (!bytes || rank < 0 || rank > max_token_id)
        refuse_tokenizer(
            file,
            fmt::format("line {} is {}; wanted JSON, or lines of a token in base64 and its rank (0 to {})",
                        number, in_quotes(line), max_token_id));
    return {*bytes, rank};
}

// Special tokens follow the ordinary ones; their names are those of llama_models/llama3/tokenizer.py.
// TRAP(image_id_of_tokenizer): <|image|> is 128011 here, while the model's embedding row is 128256;
// chat_template puts the model's id in.
void add_special_tokens(TokenizerFile& table)
{
    std::vector<std::string> names = {"<|begin_of_text|>",
                                      "<|end_of_text|>",
                                      "<|reserved_special_token_0|>",
                                      "<|reserved_special_token_1|>",
                                      "<|finetune_right_pad_id|>",
                                      "<|step_id|>",
                                      "<|start_header_id|>",
                                      "<|end_header_id|>",
                                      "<|eom_id|>",
                                      "<|eot_id|>",
                                      "<|python_tag|>",
                                      "<|image|>"};
    for (int reserved = 2; names.size() < 256; ++reserved)
        names.push_back(fmt::format("<|reserved_special_token_{}|>", reserved));
    table.pieces.insert(table.pieces.end(), names.begin(), names.end());
    table.kinds.resize(table.pieces.size(), TokenKind::special);
}

}  // namespace

TokenizerFile read_ranked_tokens(const std::filesystem::path& file, std::string_view bytes)
{
    std::vector<RankedToken> tokens;
    std::size_t number = 0;
    while (!bytes.empty()) {
        std::string_view line = bytes.substr(0, bytes.find('\n'));
        bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
        ++number;
        if (line.ends_with('\r'))
            line.remove_suffix(1);
        if (!line.empty())
            tokens.push_back(read_ranked_token(file, line, number));
    }

    TokenizerFile table;
    TokenPlaces places(file, tokens.size(), table);
    std::unordered_map<std::string, std::int64_t> seen;
    for (const RankedToken& token : tokens) {
        if (const auto [same, is_new] = seen.emplace(token.bytes, token.rank); !is_new)
            refuse_tokenizer(file, fmt::format("token {} has the ranks {} and {}", in_quotes(token.bytes),
                                               same->second, token.rank));
        places.put(token.rank, token.bytes, TokenKind::ordinary);
    }
    places.require_every_byte();
    add_special_tokens(table);
    table.merges_by_rank = true;
    table.whole_piece_first = true;
    table.cuts_long_runs = true;
    table.pattern = llama3_pattern;
    return table;
}

}  // namespace pictor
