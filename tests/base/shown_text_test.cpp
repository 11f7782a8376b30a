#include "tests/catch.h"

#include "base/byte_alphabet.h"
#include "base/shown_text.h"

using namespace pictor;

TEST_CASE("what a terminal would obey is spelt out", "[base]")
{
    CHECK(terminal_text("plain \u00e9\n\tmore") == "plain \u00e9\n\tmore");
    CHECK(terminal_text("\x1b[31mred\x07\x7f") == "\\x1B[31mred\\x07\\x7F");
    CHECK(terminal_text("\xC2\x9B"
                        "2J") == "\\x9B2J");  // U+009B, ESC [ in one character
    CHECK(terminal_text("a\u202Eb") == "a\\u202Eb");
    CHECK(terminal_text("\x9b") == "\uFFFD");
    CHECK(in_quotes("a\nb\x1b") == "'a\\nb\\x1B'");
    CHECK(in_quotes(std::string(60, 'x')) == "'" + std::string(48, 'x') + "...'");
}

TEST_CASE("markup and captions show every character and obey none", "[base]")
{
    CHECK(escape_markup("<a href='x'>&\"") == "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    CHECK(escape_markup("\x01\u0085\uFFFE\xff") == "\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(visible_text("a\nb\tc\x1b\u202E") == "a\u21B5"
                                               "b\u21E5"
                                               "c\uFFFD\uFFFD");
    CHECK(visible_text("abcdef", 3) == "abc\u2026");
}

TEST_CASE("the byte-level alphabet stands for all 256 bytes and nothing else", "[base]")
{
    CHECK(bytes_of_token("\u0120the") == " the");
    CHECK(bytes_of_token("\u010A") == "\n");
    CHECK(bytes_of_token("\u00ff\u0143") == "\xff\xad");
    CHECK_FALSE(bytes_of_token("\u0144"));
    CHECK_FALSE(bytes_of_token(" "));
    CHECK_FALSE(bytes_of_token("\xC4"));
}
