#include "reference/prompt/split_pattern.h"

#include <array>
#include <new>
#include <stdexcept>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <fmt/format.h>

#include "base/utf8.h"

namespace pictor {
namespace {

// TRAP(mongolian_vowel_separator): PCRE2's \s holds U+180E, which Unicode stopped calling a space in 2013;
// the regex engines of both references follow Unicode. So \s and \S are spelt out as Unicode's White_Space.
std::string with_unicode_spaces(const std::string& pattern)
{
    const std::string spaces =
        R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
    std::string out;
    bool in_class = false;
    for (std::size_t at = 0; at < pattern.size(); ++at) {
        const char letter = pattern[at];
        if (letter == '\\' && at + 1 < pattern.size()) {
            const char escaped = pattern[++at];
            if (escaped == 's')
                out += in_class ? spaces : "[" + spaces + "]";
            else if (escaped == 'S' && !in_class)
                out += "[^" + spaces + "]";
            else if (escaped == 'S')
                throw std::runtime_error("\\S inside a character class is not supported");
            else
                out += {letter, escaped};
            continue;
        }
        out += letter;
        if (!in_class && letter == '[') {
            in_class = true;
            if (at + 1 < pattern.size() && pattern[at + 1] == '^')
                out += pattern[++at];
            if (at + 1 < pattern.size() && pattern[at + 1] == ']')
                out += pattern[++at];  // a literal ]
        } else if (letter == ']') {
            in_class = false;
        }
    }
    return out;
}

struct FreePcre2 {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

std::string pcre2_message(int code)
{
    std::array<PCRE2_UCHAR, 256> buffer{};
    pcre2_get_error_message(code, buffer.data(), buffer.size());
    return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

void SplitPattern::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

SplitPattern::SplitPattern(const std::string& source)
{
    const std::string pattern = with_unicode_spaces(source);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
    if (!code_)
        throw std::runtime_error(
            fmt::format("{} (near '{}')", pcre2_message(error),
                        valid_utf8(std::string_view(pattern).substr(offset).substr(0, 24))));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where it cannot, matching is merely slower
}

std::vector<std::string_view> SplitPattern::split(std::string_view text) const
{
    const std::unique_ptr<pcre2_match_data, FreePcre2> data(pcre2_match_data_create(1, nullptr));
    const std::unique_ptr<pcre2_match_context, FreePcre2> limits(pcre2_match_context_create(nullptr));
    if (!data || !limits)
        throw std::bad_alloc();
    pcre2_set_match_limit(limits.get(), 10'000'000);
    pcre2_set_heap_limit(limits.get(), 64 * 1024);  // KiB

    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < text.size();) {
        const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                      PCRE2_NO_UTF_CHECK, data.get(), limits.get());
        if (found < 0 && found != PCRE2_ERROR_NOMATCH)
            throw std::runtime_error(
                fmt::format("the split pattern fails at byte {} of the text: {}", at, pcre2_message(found)));
        const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(data.get());
        const std::size_t begin = found < 0 ? text.size() : range[0];
        const std::size_t end = found < 0 ? text.size() : range[1];
        if (begin < at || (found >= 0 && end <= begin))
            throw std::runtime_error(
                fmt::format("the split pattern matches nothing at byte {} of the text; it must "
                            "match at least one character",
                            at));
        if (begin > at)
            pieces.push_back(text.substr(at, begin - at));
        if (end > begin)
            pieces.push_back(text.substr(begin, end - begin));
        at = end;
    }
    return pieces;
}

namespace {

// What Python's str.isspace() accepts: White_Space and the four separators U+001C to U+001F.
bool is_python_space(char32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

}  // namespace

// TRAP(long_runs_are_cut): before anything else Meta's Tokenizer.encode cuts the text every 400,000
// characters, and wherever 25,000 characters in a row are all space or all not. Ids of such texts depend on
// it.
std::vector<std::string_view> cut_long_runs(std::string_view text)
{
    constexpr std::size_t most_characters = 400'000;
    constexpr std::size_t longest_run = 25'000;
    std::vector<std::string_view> slices;
    std::size_t slice_begin = 0;
    std::size_t n_characters = 0;
    std::size_t run = 0;
    bool run_is_space = false;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = next_character(text.substr(at)).length;
        const bool is_space = is_python_space(code_point(text.substr(at, length)));
        const bool new_part = n_characters > 0 && n_characters % most_characters == 0;
        if (new_part || (is_space == run_is_space && run == longest_run)) {
            slices.push_back(text.substr(slice_begin, at - slice_begin));
            slice_begin = at;
            run = 0;
        } else if (is_space != run_is_space) {
            run = 0;
        }
        ++run;
        run_is_space = is_space;
        at += length;
        ++n_characters;
    }
    slices.push_back(text.substr(slice_begin));
    return slices;
}

}  // namespace pictor
