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
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/byte_alphabet.h"
#include "base/input_file.h"
#include "base/json_file.h"
#include "base/shown_text.h"
#include "base/utf8.h"
#include "reference/prompt/ranked_tokens.h"
#include "reference/prompt/token_places.h"

namespace pictor {
namespace {

using nlohmann::json;

const json& member(const std::filesystem::path& file, const json& object, const std::string& where,
                   const char* key)
{
    if (!object.is_object() || !object.contains(key))
        refuse_tokenizer(file, fmt::format("no '{}' in {}", key, where));
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
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(max_token_id))
        refuse_tokenizer(file, fmt::format("token {} has the id {}; ids are whole numbers from 0 to {}",
                                           in_quotes(token), brief_json(value), max_token_id));
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
        refuse_tokenizer(file, "'added_tokens' is not a list");
    for (const json& entry : entries) {
        const std::string content =
            member(file, entry, "an entry of 'added_tokens'", "content").get<std::string>();
        if (content.empty())
            refuse_tokenizer(file, "'added_tokens' has an entry without content");
        for (const char* flag : {"single_word", "lstrip", "rstrip"})
            if (entry.value(flag, false))
                refuse_tokenizer(
                    file, fmt::format("added token {} has '{}'; only added tokens without it are supported",
                                      in_quotes(content), flag));
        const std::int64_t id =
            token_id(file, member(file, entry, "an entry of 'added_tokens'", "id"), content);
        const TokenKind kind = entry.value("special", false) ? TokenKind::special : TokenKind::added;
        if (!added.emplace(content, AddedToken{id, kind}).second)
            refuse_tokenizer(file, fmt::format("added token {} is listed twice", in_quotes(content)));
    }
    return added;
}

// Fills the table; returns the ids by the tokens' spelling in the file, for the merges.
Ids read_vocabulary(const std::filesystem::path& file, const json& root, const json& model,
                    TokenizerFile& table)
{
    const json& vocab = member(file, model, "'model'", "vocab");
    if (!vocab.is_object() || vocab.empty())
        refuse_tokenizer(file, "'model.vocab' is not an object of tokens and ids");
    const std::unordered_map<std::string, AddedToken> added = read_added_tokens(file, root);
    std::size_t n_tokens = vocab.size();
    for (const auto& [content, token] : added)
        n_tokens += vocab.contains(content) ? 0 : 1;

    TokenPlaces places(file, n_tokens, table);
    Ids ids;
    ids.reserve(vocab.size());
    for (const auto& [token, value] : vocab.items()) {
        const std::int64_t id = token_id(file, value, token);
        ids.emplace(token, id);
        if (const auto same = added.find(token); same != added.end()) {
            if (same->second.id != id)
                refuse_tokenizer(
                    file, fmt::format("token {} has the id {} in 'model.vocab' and {} in 'added_tokens'",
                                      in_quotes(token), id, same->second.id));
            continue;
        }
        const std::optional<std::string> bytes = bytes_of_token(token);
        if (!bytes || bytes->empty())
            refuse_tokenizer(
                file, fmt::format("token {} is not spelt in the byte-level alphabet", in_quotes(token)));
        places.put(id, *bytes, TokenKind::ordinary);
    }
    for (const auto& [content, token] : added)
        places.put(token.id, content, token.kind);
    places.require_every_byte();
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
    refuse_tokenizer(file, fmt::format("merge {} is neither \"a b\" nor [\"a\", \"b\"]", index));
}

void read_merges(const std::filesystem::path& file, const json& model, const Ids& ids, TokenizerFile& table)
{
    const json& merges = member(file, model, "'model'", "merges");
    if (!merges.is_array())
        refuse_tokenizer(file, "'model.merges' is not a list");
    table.merges.reserve(merges.size());
    for (std::size_t index = 0; index < merges.size(); ++index) {
        const std::array<std::string, 2> parts = read_merge(file, merges[index], index);
        const auto id_of = [&](const std::string& token) {
            const auto found = ids.find(token);
            if (found == ids.end())
                refuse_tokenizer(
                    file, fmt::format("merge {} ({} + {}) names {}, which is not in 'model.vocab'", index,
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
        refuse_tokenizer(file, "'pre_tokenizer' is not a Sequence: " + wanted);
    const json& parts = member(file, pre_tokenizer, "'pre_tokenizer'", "pretokenizers");
    if (!parts.is_array() || parts.size() != 2 || !parts[0].is_object() || !parts[1].is_object() ||
        parts[0].value("type", "") != "Split" || parts[1].value("type", "") != "ByteLevel")
        refuse_tokenizer(file, "'pre_tokenizer' holds other steps: " + wanted);
    const json& pattern = member_or_null(parts[0], "pattern");
    if (!pattern.is_object() || !pattern.contains("Regex") || parts[0].value("behavior", "") != "Isolated" ||
        parts[0].value("invert", false))
        refuse_tokenizer(file, "'pre_tokenizer' splits in another way: " + wanted);
    if (parts[1].value("add_prefix_space", true) || parts[1].value("use_regex", true))
        refuse_tokenizer(file, "'pre_tokenizer' has a ByteLevel with other options: " + wanted);
    return pattern.at("Regex").get<std::string>();
}

void require_plain_bpe(const std::filesystem::path& file, const json& root, const json& model)
{
    const std::string type = model.is_object() ? model.value("type", "") : "";
    if (type != "BPE")
        refuse_tokenizer(file, fmt::format("'model.type' is {}; only BPE is supported", in_quotes(type)));
    if (!member_or_null(root, "normalizer").is_null())
        refuse_tokenizer(file, "has a 'normalizer'; only null is supported");
    const json& decoder = member_or_null(root, "decoder");
    if (!decoder.is_null() && (!decoder.is_object() || decoder.value("type", "") != "ByteLevel"))
        refuse_tokenizer(file, "'decoder' is not ByteLevel");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
        if (const json& value = member_or_null(model, key); !value.is_null() && value != "")
            refuse_tokenizer(file, fmt::format("'model.{}' is set; only null is supported", key));
    if (const json& dropout = member_or_null(model, "dropout"); !dropout.is_null() && dropout != 0)
        refuse_tokenizer(file, "'model.dropout' is set; only null is supported");
    if (model.value("byte_fallback", false))
        refuse_tokenizer(file, "'model.byte_fallback' is true; only false is supported");
}

// "truncation", "padding" and "post_processor" are not read: encode() neither cuts, pads nor adds BOS.
TokenizerFile read_json(const std::filesystem::path& file, const std::string& bytes)
{
    try {
        const json root = parse_json(bytes, file.string(), most_tokenizer_values);
        const json& model = member(file, root, "the file", "model");
        require_plain_bpe(file, root, model);
        TokenizerFile table;
        table.pattern = read_split_pattern(file, root);
        // TRAP(ignore_merges): a whole pre-token that is a token is taken as it is, though merges would not
        // lead to it.
        table.whole_piece_first = model.value("ignore_merges", false);
        read_merges(file, model, read_vocabulary(file, root, model, table), table);
        return table;
    } catch (const json::exception& error) {
        refuse_tokenizer(file, "not a tokenizer.json: " + valid_utf8(error.what()));
    }
}

}  // namespace

TokenizerFile read_tokenizer_file(const std::filesystem::path& path)
{
    std::filesystem::path file = path;
    if (std::filesystem::is_directory(path))
        file = std::filesystem::exists(path / "tokenizer.json") ? path / "tokenizer.json"
                                                                : path / "tokenizer.model";
    const std::string bytes =
        read_whole_file(file, most_tokenizer_bytes, "a tokenizer.json, or Meta's tokenizer.model");
    const std::size_t first = bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
    if (first == std::string::npos)
        refuse_tokenizer(file, "is empty; wanted a tokenizer.json or Meta's tokenizer.model");
    return bytes[first] == '{' ? read_json(file, bytes) : read_ranked_tokens(file, bytes);
}

}  // namespace pictor
