// Text <-> token ids: byte-level BPE as Llama 3 does it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pictor {

class Tokenizer {
public:
    // Reads tokenizer.json (Hugging Face) or Meta's tokenizer.model (lines "base64 rank"); content decides,
    // not the name. A folder stands for its tokenizer.json, else its tokenizer.model. Throws
    // std::runtime_error naming the file, what was found, what would be right.
    static Tokenizer load(const std::filesystem::path& file);

    // honour_special: "<|eot_id|>" in the text becomes its one token; otherwise it is text like any other.
    // Adds nothing: no BOS. Throws std::runtime_error when the text is not UTF-8 (both references take only
    // str), and when the split pattern exceeds its match limit.
    std::vector<std::int64_t> encode(std::string_view text, bool honour_special) const;

    // The token's raw bytes, which may be part of a UTF-8 sequence; a special token's name. Throws when id is
    // none.
    std::string piece(std::int64_t id) const;

    // The text of all ids; bytes that are not UTF-8 become U+FFFD. skip_special leaves special tokens out.
    std::string decode(const std::vector<std::int64_t>& ids, bool skip_special) const;

    std::int64_t special_id(std::string_view name) const;  // throws when there is no such special token
    std::optional<std::int64_t> find_special(std::string_view name) const;
    bool is_special(std::int64_t id) const;  // false for ids out of range
    std::int64_t size() const;               // ids run from 0 to size - 1 without gaps

private:
    struct State;
    explicit Tokenizer(std::shared_ptr<const State> state);
    std::shared_ptr<const State> state_;  // never changes after load: copies share it
};

// Tokens arrive one at a time and may end in the middle of a character: holds such bytes back until the rest
// comes. Refers to the tokenizer, which must outlive it.
class TextStream {
public:
    explicit TextStream(const Tokenizer& tokenizer, bool skip_special = true);
    std::string push(
        std::int64_t id);  // the text that is now complete, always valid UTF-8; throws as piece() does
    std::string flush();   // at the end: bytes still held back become one U+FFFD

private:
    const Tokenizer& tokenizer_;
    bool skip_special_;
    std::string pending_;
};

}  // namespace pictor
