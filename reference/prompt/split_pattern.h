// What happens to a text before its bytes are merged: it is cut into pre-tokens, which no merge crosses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;  // PCRE2's compiled pattern

namespace pictor {

// The regular expression of a tokenizer file, run by PCRE2.
class SplitPattern {
public:
    // Throws std::runtime_error that says what is wrong with the pattern and where.
    explicit SplitPattern(const std::string& source);

    // Cuts `text` (valid UTF-8) into pre-tokens. Nothing is lost: what the pattern does not match is a
    // pre-token as well. Throws std::runtime_error when the pattern matches an empty string or exceeds its
    // match limit.
    std::vector<std::string_view> split(std::string_view text) const;

private:
    struct FreeCode {
        void operator()(pcre2_real_code_8* code) const;
    };
    std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

// The slices that Meta's tokenizer makes of a text (valid UTF-8) before the pattern sees it.
std::vector<std::string_view> cut_long_runs(std::string_view text);

}  // namespace pictor
