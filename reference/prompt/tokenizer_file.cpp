// tokenizer.json and tokenizer.model -> one table.
//
// Both describe the same thing in two ways. tokenizer.json lists tokens (spelt in an alphabet of 256
// printable characters, one per byte) and merges in order; tokenizer.model lists tokens only (base64), and
// the order in which they merge is the order of their ids. Whatever this reader does not know it refuses: a
// normalizer silently ignored would change every id after it.
#include "reference/prompt/tokenizer_file.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/byte_alphabet.h"
#include "base/shown_text.h"
#include "base/utf8.h"

namespace pictor {
namespace {

using nlohmann::json;

constexpr std::int64_t max_id = 10'000'000;
constexpr std::uintmax_t max_file_bytes = 256u << 20;  // the real tokenizer.json has 17 MB

// The split pattern of Llama 3, which tokenizer.model does not carry (llama_models/llama3/tokenizer.py).
// TRAP(case_insensitive_contractions): (?i:) folds as Unicode does, so the long s, U+017F, is an s there and
// nowhere else.
constexpr const char* llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why)
{
    throw std::runtime_error(fmt::format("{}: {}", file.string(), why));
}

std::string read_bytes(const std::filesystem::path& file)
{
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    if (error)
        refuse(file, "cannot be read: " + error.message());
    if (size > max_file_bytes)
        refuse(file, fmt::format("has {} bytes; a tokenizer has at most {}", size, max_file_bytes));
    std::ifstream in(file, std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    if (!in || (size > 0 && !bytes))
        refuse(file, "cannot be read");
    return bytes.str();
}

// Every one of the 256 bytes must be a token, or some text could not be written at all.
void require_every_byte(const std::filesystem::path& file, const TokenizerFile& table)
{
    std::array<bool, 256> present{};
    for (std::size_t id = 0; id < table.pieces.size(); ++id)
        if (table.kinds[id] == TokenKind::ordinary && table.pieces[id].size() == 1)
            present[static_cast<unsigned char>(table.pieces[id][0])] = true;
    const auto missing = std::find(present.begin(), present.end(), false);
    if (missing != present.end())
        refuse(file, fmt::format("no token for the byte 0x{:02X}; a byte-level vocabulary has all 256",
                                 missing - present.begin()));
}

// ---- tokenizer.json ----

const json& member(const std::filesystem::path& file, const json& object, const std::string& where,
                   const char* key)
{
    if (!object.is_object() || !object.contains(key))
        refuse(file, fmt::format("no '{}' in {}", key, where));
    return object.at(key);
}

// Null when absent. A reference: copying JSON recurses, and a hostile file may nest a million deep.
const json& member_or_null(const json& object, const char* key)
{
    static const json null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
}

std::int64_t token_id(const std::filesystem::path& file, const json& value, std::string_view token)
{
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(max_id))
        refuse(file,
               fmt::format("token {} has the id {}; ids are whole numbers from 0 to {}", in_quotes(token),
                           value.is_number() ? value.dump() : value.type_name(), max_id));
    return value.get<std::int64_t>();
}

using Ids = std::unordered_map<std::string, std::int64_t>;

struct AddedToken {
    std::int64_t id = 0;
    TokenKind kind = TokenKind::added;
};

std::unordered_map<std::string, AddedToken> read_added_tokens(const std::filesystem::path& file,
                                                              const json& root)
{
    std::unordered_map<std::string, AddedToken> added;
    const json& entries = member_or_null(root, "added_tokens");
    if (!entries.is_null() && !entries.is_array())
        refuse(file, "'added_tokens' is not a list");
    for (const json& entry : entries) {
        const std::string content =
            member(file, entry, "an entry of 'added_tokens'", "content").get<std::string>();
        if (content.empty())
            refuse(file, "'added_tokens' has an entry without content");
        for (const char* flag : {"single_word", "lstrip", "rstrip"})
            if (entry.value(flag, false))
                refuse(file,
                       fmt::format("added token {} has '{}'; only added tokens without it are supported",
                                   in_quotes(content), flag));
        const std::int64_t id =
            token_id(file, member(file, entry, "an entry of 'added_tokens'", "id"), content);
        const TokenKind kind = entry.value("special", false) ? TokenKind::special : TokenKind::added;
        if (!added.emplace(content, AddedToken{id, kind}).second)
            refuse(file, fmt::format("added token {} is listed twice", in_quotes(content)));
    }
    return added;
}

// Puts a token in its place; two tokens of one id are an error. Ids beyond the number of tokens leave a gap
// elsewhere.
void place(const std::filesystem::path& file, TokenizerFile& table, std::vector<bool>& taken, std::int64_t id,
           const std::string& piece, TokenKind kind)
{
    const auto slot = static_cast<std::size_t>(id);
    if (slot >= taken.size())
        refuse(file,
               fmt::format("token {} has the id {}, but there are {} tokens: ids run from 0 without gaps",
                           in_quotes(piece), id, taken.size()));
    if (taken[slot])
        refuse(file, fmt::format("the tokens {} and {} both have the id {}", in_quotes(table.pieces[slot]),
                                 in_quotes(piece), id));
    taken[slot] = true;
    table.pieces[slot] = piece;
    table.kinds[slot] = kind;
}

// Fills the table; returns the ids by the tokens' spelling in the file, for the merges.
Ids read_vocabulary(const std::filesystem::path& file, const json& root, const json& model,
                    TokenizerFile& table)
{
    const json& vocab = member(file, model, "'model'", "vocab");
    if (!vocab.is_object() || vocab.empty())
        refuse(file, "'model.vocab' is not an object of tokens and ids");
    const std::unordered_map<std::string, AddedToken> added = read_added_tokens(file, root);
    std::size_t n_tokens = vocab.size();
    for (const auto& [content, token] : added)
        n_tokens += vocab.contains(content) ? 0 : 1;

    table.pieces.resize(n_tokens);
    table.kinds.resize(n_tokens, TokenKind::ordinary);
    std::vector<bool> taken(n_tokens);
    Ids ids;
    ids.reserve(vocab.size());
    for (const auto& [token, value] : vocab.items()) {
        const std::int64_t id = token_id(file, value, token);
        ids.emplace(token, id);
        if (const auto same = added.find(token); same != added.end()) {
            if (same->second.id != id)
                refuse(file, fmt::format("token {} has the id {} in 'model.vocab' and {} in 'added_tokens'",
                                         in_quotes(token), id, same->second.id));
            continue;
        }
        const std::optional<std::string> bytes = bytes_of_token(token);
        if (!bytes || bytes->empty())
            refuse(file, fmt::format("token {} is not spelt in the byte-level alphabet", in_quotes(token)));
        place(file, table, taken, id, *bytes, TokenKind::ordinary);
    }
    for (const auto& [content, token] : added)
        place(file, table, taken, token.id, content, token.kind);
    return ids;
}

// A merge is "a b" or ["a", "b"].
std::array<std::string, 2> read_merge(const std::filesystem::path& file, const json& entry, std::size_t index)
{
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string())
        return {entry[0].get<std::string>(), entry[1].get<std::string>()};
    if (entry.is_string()) {
        const std::string text = entry.get<std::string>();
        const std::size_t space = text.find(' ');
        if (space != std::string::npos && text.find(' ', space + 1) == std::string::npos)
            return {text.substr(0, space), text.substr(space + 1)};
    }
    refuse(file, fmt::format("merge {} is neither \"a b\" nor [\"a\", \"b\"]", index));
}

void read_merges(const std::filesystem::path& file, const json& model, const Ids& ids, TokenizerFile& table)
{
    const json& merges = member(file, model, "'model'", "merges");
    if (!merges.is_array())
        refuse(file, "'model.merges' is not a list");
    table.merges.reserve(merges.size());
    for (std::size_t index = 0; index < merges.size(); ++index) {
        const std::array<std::string, 2> parts = read_merge(file, merges[index], index);
        const auto id_of = [&](const std::string& token) {
            const auto found = ids.find(token);
            if (found == ids.end())
                refuse(file, fmt::format("merge {} ({} + {}) names {}, which is not in 'model.vocab'", index,
                                         in_quotes(parts[0]), in_quotes(parts[1]), in_quotes(token)));
            return found->second;
        };
        table.merges.push_back({id_of(parts[0]), id_of(parts[1]), id_of(parts[0] + parts[1])});
    }
}

// Sequence[Split(pattern), ByteLevel] -> the pattern.
std::string read_split_pattern(const std::filesystem::path& file, const json& root)
{
    const std::string wanted =
        "only a Sequence of one Split (Regex, Isolated, not inverted) and one ByteLevel "
        "(without add_prefix_space and use_regex), as in Llama 3, is supported";
    const json& pre_tokenizer = member_or_null(root, "pre_tokenizer");
    if (!pre_tokenizer.is_object() || pre_tokenizer.value("type", "") != "Sequence")
        refuse(file, "'pre_tokenizer' is not a Sequence: " + wanted);
    const json& parts = member(file, pre_tokenizer, "'pre_tokenizer'", "pretokenizers");
    if (!parts.is_array() || parts.size() != 2 || !parts[0].is_object() || !parts[1].is_object() ||
        parts[0].value("type", "") != "Split" || parts[1].value("type", "") != "ByteLevel")
        refuse(file, "'pre_tokenizer' holds other steps: " + wanted);
    const json& pattern = member_or_null(parts[0], "pattern");
    if (!pattern.is_object() || !pattern.contains("Regex") || parts[0].value("behavior", "") != "Isolated" ||
        parts[0].value("invert", false))
        refuse(file, "'pre_tokenizer' splits in another way: " + wanted);
    if (parts[1].value("add_prefix_space", true) || parts[1].value("use_regex", true))
        refuse(file, "'pre_tokenizer' has a ByteLevel with other options: " + wanted);
    return pattern.at("Regex").get<std::string>();
}

void require_plain_bpe(const std::filesystem::path& file, const json& root, const json& model)
{
    const std::string type = model.is_object() ? model.value("type", "") : "";
    if (type != "BPE")
        refuse(file, fmt::format("'model.type' is {}; only BPE is supported", in_quotes(type)));
    if (!member_or_null(root, "normalizer").is_null())
        refuse(file, "has a 'normalizer'; only null is supported");
    const json& decoder = member_or_null(root, "decoder");
    if (!decoder.is_null() && (!decoder.is_object() || decoder.value("type", "") != "ByteLevel"))
        refuse(file, "'decoder' is not ByteLevel");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (const json& value = member_or_null(model, key); !value.is_null() && value != "")
            refuse(file, fmt::format("'model.{}' is set; only null is supported", key));
    if (const json& dropout = member_or_null(model, "dropout"); !dropout.is_null() && dropout != 0)
        refuse(file, "'model.dropout' is set; only null is supported");
    if (model.value("byte_fallback", false))
        refuse(file, "'model.byte_fallback' is true; only false is supported");
}

// "truncation", "padding" and "post_processor" are not read: encode() neither cuts, pads nor adds BOS.
TokenizerFile read_json(const std::filesystem::path& file, const std::string& bytes)
{
    try {
        const json root = json::parse(bytes);
        const json& model = member(file, root, "the file", "model");
        require_plain_bpe(file, root, model);
        TokenizerFile table;
        table.pattern = read_split_pattern(file, root);
        // TRAP(ignore_merges): a whole pre-token that is a token is taken as it is, though merges would not
        // lead to it.
        table.whole_piece_first = model.value("ignore_merges", false);
        read_merges(file, model, read_vocabulary(file, root, model, table), table);
        require_every_byte(file, table);
        return table;
    } catch (const json::exception& error) {
        refuse(file, "not a tokenizer.json: " + valid_utf8(error.what()));
    }
}

// ---- tokenizer.model ----

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
    if (!bytes || rank < 0 || rank > max_id)
        refuse(file,
               fmt::format("line {} is {}; wanted JSON, or lines of a token in base64 and its rank (0 to {})",
                           number, in_quotes(line), max_id));
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

TokenizerFile read_ranks(const std::filesystem::path& file, std::string_view bytes)
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
    table.pieces.resize(tokens.size());
    table.kinds.resize(tokens.size(), TokenKind::ordinary);
    std::vector<bool> taken(tokens.size());
    Ids seen;
    for (const RankedToken& token : tokens) {
        if (const auto [same, is_new] = seen.emplace(token.bytes, token.rank); !is_new)
            refuse(file, fmt::format("token {} has the ranks {} and {}", in_quotes(token.bytes), same->second,
                                     token.rank));
        place(file, table, taken, token.rank, token.bytes, TokenKind::ordinary);
    }
    require_every_byte(file, table);
    add_special_tokens(table);
    table.merges_by_rank = true;
    table.whole_piece_first = true;
    table.cuts_long_runs = true;
    table.pattern = llama3_pattern;
    return table;
}

}  // namespace

TokenizerFile read_tokenizer_file(const std::filesystem::path& path)
{
    std::filesystem::path file = path;
    if (std::filesystem::is_directory(path))
        file = std::filesystem::exists(path / "tokenizer.json") ? path / "tokenizer.json"
                                                                : path / "tokenizer.model";
    const std::string bytes = read_bytes(file);
    const std::size_t first = bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
    if (first == std::string::npos)
        refuse(file, "is empty; wanted a tokenizer.json or Meta's tokenizer.model");
    return bytes[first] == '{' ? read_json(file, bytes) : read_ranks(file, bytes);
}

}  // namespace pictor
