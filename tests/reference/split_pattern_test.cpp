#include "reference/prompt/split_pattern.h"

#include <string>
#include <string_view>
#include <vector>

#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

using pictor::SplitPattern;
using pictor_test::error_of;
using Pieces = std::vector<std::string_view>;

namespace {

// Runs of letters, of spaces, of neither; up to three digits.
const char* const runs = R"([^\s\p{L}\p{N}]+|\p{L}+|\p{N}{1,3}|\s+)";

}  // namespace

TEST_CASE("split pattern: a text is cut where the pattern says, and nothing is lost")
{
    CHECK(SplitPattern(runs).split("") == Pieces{});
    CHECK(SplitPattern(runs).split("two 12345!") == Pieces{"two", " ", "123", "45", "!"});
    CHECK(SplitPattern("bc").split("abcab") ==
          Pieces{"a", "bc", "ab"});  // what is not matched is a piece as well
    CHECK(SplitPattern("\\w+|\\W").split("éé ") == Pieces{"éé", " "});  // \w, \d and \b are Unicode's
}

TEST_CASE("split pattern: its faults are errors with a place")
{
    CHECK_THAT(error_of([] { SplitPattern("(a"); }), ContainsSubstring("missing closing parenthesis"));
    CHECK_THAT(error_of([] { SplitPattern("a\\p{Nonsense}b"); }), ContainsSubstring("near 'b'"));
    CHECK_THAT(error_of([] { SplitPattern("x*").split("abc"); }),
               ContainsSubstring("matches nothing at byte 0"));
    CHECK_THAT(error_of([] { SplitPattern("(a|aa|aaa)+$").split(std::string(200, 'a') + "!"); }),
               ContainsSubstring("match limit"));
}

TEST_CASE("TRAP mongolian_vowel_separator: U+180E is not a space", "[trap]")
{
    CHECK(SplitPattern(runs).split("!\u180E!") == Pieces{"!\u180E!"});
    CHECK(SplitPattern(runs).split("!\u3000!") == Pieces{"!", "\u3000", "!"});
    CHECK(SplitPattern("\\S+").split("!\u180E!") == Pieces{"!\u180E!"});
    CHECK(SplitPattern("\\S+").split("!\u3000!") == Pieces{"!", "\u3000", "!"});
}

TEST_CASE("split pattern: Meta's slices are whole texts up to their limits")
{
    const std::string letters(25000, 'a'), spaces(25000, ' ');
    CHECK(pictor::cut_long_runs("") == Pieces{""});
    CHECK(pictor::cut_long_runs(letters + spaces) == Pieces{letters + spaces});
    CHECK(pictor::cut_long_runs(letters + "b" + spaces) == Pieces{letters, "b" + spaces});
}
