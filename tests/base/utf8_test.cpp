#include "base/utf8.h"

#include <string>

#include "tests/catch.h"

TEST_CASE("utf8: bytes that are not UTF-8 become U+FFFD, as in Python")
{
    using pictor::valid_utf8;
    CHECK(valid_utf8("plain é 😀") == "plain é 😀");
    CHECK(valid_utf8("a\x80z") == "a\uFFFDz");
    CHECK(valid_utf8("\xE2\x82z") == "\uFFFDz");  // one for a sequence that breaks off
    CHECK(valid_utf8("\xF0\x9F\x98") == "\uFFFD");
    CHECK(valid_utf8("\xE0\x80\x80") == "\uFFFD\uFFFD\uFFFD");  // one for each byte that can begin nothing
    CHECK(valid_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
    CHECK(valid_utf8("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(valid_utf8(std::string("\0", 1)) == std::string("\0", 1));
}
