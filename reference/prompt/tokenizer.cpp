// Text -> token ids.
//
// 1. Special tokens are found first, if they are to be honoured at all.
// 2. The split pattern (split_pattern.cpp) cuts the rest into pre-tokens: a word with its leading space, up
// to three
//    digits, ...
// 3. Each pre-token starts as its single bytes; of all neighbours that may merge, the pair of lowest rank
// merges, until
//    none is left (byte-level BPE).
// Follows tiktoken and llama_models/llama3/tokenizer.py for tokenizer.model, the `tokenizers` library for
// tokenizer.json.
#include "reference/prompt/tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <set>
#include <stdexcept>
#include <tuple>
#include <unordered_map>

#include <fmt/format.h>

#include "base/at.h"
#include "base/utf8.h"
#include "reference/prompt/split_pattern.h"
#include "reference/prompt/tokenizer_file.h"

namespace pictor {
namespace {

constexpr std::size_t none = static_cast<std::size_t>(-1);

// ---- lookups ----

// Lets a map of strings be asked for a string_view.
struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

using IdOfBytes = std::unordered_map<std::string, std::int64_t, StringHash, std::equal_to<>>;

// Tokens that are found in the text before it is split.
struct NamedTokens {
    IdOfBytes ids;
    std::set<std::size_t, std::greater<>> lengths;
    std::array<bool, 256> starts{};  // first bytes

    void add(const std::string& name, std::int64_t id)
    {
        ids.emplace(name, id);
        lengths.insert(name.size());
        starts[static_cast<unsigned char>(name[0])] = true;
    }
};

struct Found {
    std::size_t begin = none;
    std::size_t length = 0;
    std::int64_t id = 0;
};

// The first named token at or after `from`; of several at one place the longest.
Found find_named(const NamedTokens& tokens, std::string_view text, std::size_t from)
{
    for (std::size_t at = from; at < text.size(); ++at) {
        if (!tokens.starts[static_cast<unsigned char>(text[at])])
            continue;
        for (const std::size_t length : tokens.lengths) {
            if (length > text.size() - at)
                continue;
            if (const auto token = tokens.ids.find(text.substr(at, length)); token != tokens.ids.end())
                return {at, length, token->second};
        }
    }
    return {};
}

struct Merge {
    std::int64_t rank = 0;
    std::int64_t result = 0;
};

std::uint64_t pair_key(std::int64_t left, std::int64_t right)
{
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

}  // namespace

struct Tokenizer::State {
    std::vector<std::string> pieces;
    std::vector<TokenKind> kinds;
    bool merges_by_rank = false;
    bool whole_piece_first = false;
    bool cuts_long_runs = false;
    SplitPattern pattern;

    IdOfBytes ordinary;  // bytes -> id
    std::size_t longest_token = 0;
    std::array<std::int64_t, 256> byte_ids{};
    std::unordered_map<std::uint64_t, Merge> merges;  // pair of ids -> merge; tokenizer.json only
    NamedTokens always;                               // added tokens that are not special
    NamedTokens with_special;                         // all added tokens
    IdOfBytes special;

    explicit State(TokenizerFile file);
    std::optional<Merge> merge_of(std::int64_t left, std::int64_t right, std::string_view together) const;
    void append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const;
    void append_text(std::string_view text, std::vector<std::int64_t>& ids) const;
    void append_slice(std::string_view text, bool honour_special, std::vector<std::int64_t>& ids) const;
};

Tokenizer::State::State(TokenizerFile file)
    : pieces(std::move(file.pieces)), kinds(std::move(file.kinds)), merges_by_rank(file.merges_by_rank),
      whole_piece_first(file.whole_piece_first), cuts_long_runs(file.cuts_long_runs), pattern(file.pattern)
{
    ordinary.reserve(pieces.size());
    for (std::size_t slot = 0; slot < pieces.size(); ++slot) {
        const auto id = static_cast<std::int64_t>(slot);
        const std::string& piece = pieces[slot];
        if (kinds[slot] == TokenKind::ordinary) {
            ordinary.emplace(piece, id);
            longest_token = std::max(longest_token, piece.size());
            if (piece.size() == 1)
                byte_ids[static_cast<unsigned char>(piece[0])] = id;
            continue;
        }
        with_special.add(piece, id);
        if (kinds[slot] == TokenKind::special)
            special.emplace(piece, id);
        else
            always.add(piece, id);
    }
    merges.reserve(file.merges.size());
    for (std::size_t rank = 0; rank < file.merges.size(); ++rank) {
        const MergeRule& rule = file.merges[rank];
        // A pair listed twice has its later rank, as in the tokenizers library.
        merges.insert_or_assign(pair_key(rule.left, rule.right),
                                Merge{static_cast<std::int64_t>(rank), rule.result});
    }
}

// ---- 3. byte-level BPE ----

// `together`: the bytes of both parts.
std::optional<Merge> Tokenizer::State::merge_of(std::int64_t left, std::int64_t right,
                                                std::string_view together) const
{
    if (merges_by_rank) {
        if (together.size() > longest_token)
            return std::nullopt;
        const auto token = ordinary.find(together);
        return token == ordinary.end() ? std::nullopt : std::optional<Merge>({token->second, token->second});
    }
    const auto rule = merges.find(pair_key(left, right));
    return rule == merges.end() ? std::nullopt : std::optional<Merge>(rule->second);
}

// One pre-token. The parts form a linked list, and the pairs that may merge wait in a heap: n log n steps,
// where looking at every pair anew after each merge would take n * n (a word of a million letters is a
// hostile text).
void Tokenizer::State::append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const
{
    if (whole_piece_first)
        if (const auto whole = ordinary.find(piece); whole != ordinary.end()) {
            ids.push_back(whole->second);
            return;
        }

    struct Part {
        std::size_t end = 0;  // one past its last byte; it begins at its own index in the list
        std::size_t previous = none;
        std::int64_t id = 0;
        bool alive = true;
    };
    std::vector<Part> parts(piece.size());  // parts[begin]
    for (std::size_t begin = 0; begin < piece.size(); ++begin)
        parts[begin] = {begin + 1, begin == 0 ? none : begin - 1,
                        byte_ids[static_cast<unsigned char>(piece[begin])], true};

    struct Candidate {
        Merge merge;
        std::size_t begin = 0, middle = 0, end = 0;  // of the two parts when they were neighbours
    };
    // TRAP(merge_order): lowest rank first, then leftmost; not from left to right, nor the longest token
    // first.
    const auto later = [](const Candidate& a, const Candidate& b) {
        return std::tie(a.merge.rank, a.begin) > std::tie(b.merge.rank, b.begin);
    };
    std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> waiting(later);
    const auto consider = [&](std::size_t begin) {
        const std::size_t middle = parts[begin].end;
        if (middle == piece.size())
            return;
        const std::size_t end = parts[middle].end;
        if (const auto merge = merge_of(parts[begin].id, parts[middle].id, piece.substr(begin, end - begin)))
            waiting.push({*merge, begin, middle, end});
    };
    for (std::size_t begin = 0; begin < piece.size(); ++begin)
        consider(begin);

    while (!waiting.empty()) {
        const Candidate best = waiting.top();
        waiting.pop();
        if (!parts[best.begin].alive || parts[best.begin].end != best.middle ||
            parts[best.middle].end != best.end)
            continue;  // one of the two has merged with somebody else meanwhile
        parts[best.begin].end = best.end;
        parts[best.begin].id = best.merge.result;
        parts[best.middle].alive = false;
        if (best.end < piece.size())
            parts[best.end].previous = best.begin;
        if (parts[best.begin].previous != none)
            consider(parts[best.begin].previous);
        consider(best.begin);
    }
    for (std::size_t begin = 0; begin < piece.size(); begin = parts[begin].end)
        ids.push_back(parts[begin].id);
}

void Tokenizer::State::append_text(std::string_view text, std::vector<std::int64_t>& ids) const
{
    for (const std::string_view piece : pattern.split(text))
        append_piece(piece, ids);
}

// ---- 1. special tokens ----

void Tokenizer::State::append_slice(std::string_view text, bool honour_special,
                                    std::vector<std::int64_t>& ids) const
{
    const NamedTokens& named = honour_special ? with_special : always;
    for (std::size_t at = 0; at < text.size();) {
        const Found token = find_named(named, text, at);
        if (token.begin == none)
            return append_text(text.substr(at), ids);
        append_text(text.substr(at, token.begin - at), ids);
        ids.push_back(token.id);
        at = token.begin + token.length;
    }
}

// ---- the public face ----

Tokenizer::Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Tokenizer Tokenizer::load(const std::filesystem::path& file)
{
    TokenizerFile table = read_tokenizer_file(file);
    try {
        return Tokenizer(std::make_shared<const State>(std::move(table)));
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}: split pattern: {}", file.string(), error.what()));
    }
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, bool honour_special) const
{
    require_utf8(text);
    std::vector<std::int64_t> ids;
    if (!state_->cuts_long_runs)
        state_->append_slice(text, honour_special, ids);
    else
        for (const std::string_view slice : cut_long_runs(text))
            state_->append_slice(slice, honour_special, ids);
    return ids;
}

std::string Tokenizer::piece(std::int64_t id) const
{
    if (id < 0 || id >= size())
        throw std::runtime_error(
            fmt::format("token id {} is not of this tokenizer, whose ids are 0 to {}", id, size() - 1));
    return at(state_->pieces, id);
}

std::string Tokenizer::decode(const std::vector<std::int64_t>& ids, bool skip_special) const
{
    TextStream stream(*this, skip_special);
    std::string text;
    for (const std::int64_t id : ids)
        text += stream.push(id);
    return text + stream.flush();
}

std::optional<std::int64_t> Tokenizer::find_special(std::string_view name) const
{
    const auto found = state_->special.find(name);
    return found == state_->special.end() ? std::nullopt : std::optional<std::int64_t>(found->second);
}

std::int64_t Tokenizer::special_id(std::string_view name) const
{
    if (const std::optional<std::int64_t> id = find_special(name))
        return *id;
    throw std::runtime_error(fmt::format("the tokenizer has no special token '{}'", valid_utf8(name)));
}

bool Tokenizer::is_special(std::int64_t id) const
{
    return id >= 0 && id < size() && at(state_->kinds, id) == TokenKind::special;
}

std::int64_t Tokenizer::size() const { return static_cast<std::int64_t>(state_->pieces.size()); }

// ---- token ids -> text ----

TextStream::TextStream(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special)
{
}

std::string TextStream::push(std::int64_t id)
{
    const std::string bytes = tokenizer_.piece(id);
    if (skip_special_ && tokenizer_.is_special(id))
        return {};
    pending_ += bytes;
    std::string text;
    std::size_t at = 0;
    while (at < pending_.size()) {
        const Utf8Step step = next_character(std::string_view(pending_).substr(at));
        if (step.kind == Utf8::incomplete)
            break;  // the rest of this character may come with the next token
        text += step.kind == Utf8::valid ? pending_.substr(at, step.length) : replacement_character;
        at += step.length;
    }
    pending_.erase(0, at);
    return text;
}

std::string TextStream::flush()
{
    const bool held_back = !pending_.empty();
    pending_.clear();
    return held_back ? replacement_character : "";
}

}  // namespace pictor
