// Text from a stranger's file, made fit for where it is shown: a terminal, a page, a caption.
#pragma once

#include <string>
#include <string_view>

namespace pictor {

// For a terminal: what could move its cursor, change its colours or turn the line around is spelt out
// ("\x1B", "\u202E"), and bytes that are not UTF-8 become U+FFFD. Line breaks and tabs stay.
std::string terminal_text(std::string_view text);

// For HTML, XML and SVG: markup characters escaped; controls, noncharacters and bytes that are not UTF-8
// become U+FFFD.
std::string escape_markup(std::string_view text);

// The word by which a page's policy knows the scripts that are its own: of all that the page holds, so that
// what it quotes cannot know the word.
std::string nonce_of(std::string_view text);

// For a caption: line breaks and tabs made visible, other controls U+FFFD, at most `most` characters long.
std::string visible_text(std::string_view text, std::size_t most = 80);

// For an error message: the start of the text in single quotes, on one line.
std::string in_quotes(std::string_view text);

}  // namespace pictor
