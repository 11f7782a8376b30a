// What a program says of a command line that it does not understand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace pictor {

// The one of `right` that a misspelt word probably means; empty when none is near. Compared without leading
// dashes and without regard to capital letters; two letters changing places count as one mistake.
std::string nearest_word(std::string_view typed, const std::vector<std::string>& right);

// One line without the program's name: what was found in the arguments of `app`, and what would be right. A
// command or an option that does not exist comes before whatever else is wrong.
std::string usage_error(const CLI::App& app, const CLI::ParseError& error);

}  // namespace pictor
