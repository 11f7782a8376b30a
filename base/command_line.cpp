#include "base/command_line.h"

#include <algorithm>
#include <numeric>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/shown_text.h"

namespace pictor {
namespace {

// For comparing: "--Max-Tokens" -> "max-tokens".
std::string bare(std::string_view word)
{
    std::string result(word.substr(std::min(word.find_first_not_of('-'), word.size())));
    for (char& c : result)
        c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return result;
}

// Letters to insert, delete, replace or swap with their neighbour to get from one word to the other.
std::size_t mistakes(const std::string& a, const std::string& b)
{
    std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
    std::iota(above.begin(), above.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        before = std::exchange(above, row);
    }
    return above.back();
}

// Whether every part of the typed word is one of the other's: max-tokens, max-new-tokens.
bool leaves_out_parts(const std::string& typed, const std::string& right)
{
    for (std::size_t at = 0; at <= typed.size();) {
        const std::size_t end = std::min(typed.find('-', at), typed.size());
        if (("-" + right + "-").find("-" + typed.substr(at, end - at) + "-") == std::string::npos)
            return false;
        at = end + 1;
    }
    return !typed.empty();
}

std::vector<std::string> commands_of(const CLI::App& app)
{
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(command->get_name());
    return names;
}

std::vector<std::string> options_of(const CLI::App& app)
{
    std::vector<std::string> names;
    for (const CLI::Option* option : app.get_options())
        for (const std::string& name : option->get_lnames())
            names.push_back("--" + name);
    return names;
}

bool has(const std::vector<std::string>& words, const std::string& word)
{
    return std::find(words.begin(), words.end(), word) != words.end();
}

// "run, forward or tokenize"
std::string any_of(const std::vector<std::string>& words)
{
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i)
        text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
    return text;
}

std::string unknown_option(const CLI::App& app, const CLI::App* command, const std::string& option)
{
    const CLI::App& asked = command ? *command : app;
    const std::string of =
        command ? "no option of " + command->get_name() : "no option; a command comes first";
    if (const std::string near = nearest_word(option, options_of(asked)); !near.empty() && near != "--help")
        return fmt::format("{}; {} would be right", of, near);
    std::vector<std::string> owners;  // commands that do have it
    for (const CLI::App* other : app.get_subcommands([](const CLI::App*) { return true; }))
        if (other != command && has(options_of(*other), option))
            owners.push_back(other->get_name());
    const std::string help =
        fmt::format("{}{} --help lists them", app.get_name(), command ? " " + command->get_name() : "");
    if (owners.empty())
        return fmt::format("{}; {}", of, command ? help : any_of(commands_of(app)) + " would be right");
    return command ? fmt::format("{} but of {}; {}", of, any_of(owners), help)
                   : fmt::format("{}, here {}", of, any_of(owners));
}

std::string unknown_command(const CLI::App& app, const std::string& word)
{
    const std::string near = nearest_word(word, commands_of(app));
    return fmt::format("no command; {} would be right",
                       near.empty() ? any_of(commands_of(app)) : app.get_name() + " " + near);
}

}  // namespace

std::string nearest_word(std::string_view typed, const std::vector<std::string>& right)
{
    const std::string word = bare(typed);
    std::string best;
    std::size_t fewest = std::max<std::size_t>(1, word.size() / 3) + 1;
    for (const std::string& candidate : right)
        if (const std::size_t count = mistakes(word, bare(candidate));
            count < fewest && count < word.size()) {
            fewest = count;
            best = candidate;
        }
    for (const std::string& candidate : right)
        if (best.empty() && leaves_out_parts(word, bare(candidate)))
            best = candidate;
    return best;
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error)
{
    const auto chosen = app.get_subcommands();
    const CLI::App* command = chosen.empty() ? nullptr : chosen.front();
    const std::vector<std::string> rest = app.remaining(true);
    const auto option = std::find_if(
        rest.begin(), rest.end(), [](const std::string& word) { return word.size() > 1 && word[0] == '-'; });
    if (!command && !rest.empty() && option != rest.begin())
        return fmt::format("{}: {}", visible_text(rest.front()), unknown_command(app, rest.front()));
    if (option != rest.end()) {
        const std::string name = option->substr(0, option->find('='));
        return fmt::format("{}: {}", visible_text(name), unknown_option(app, command, name));
    }
    if (!rest.empty())
        return fmt::format("{}: one argument too many; {} {} --help says what it takes",
                           visible_text(rest.front()), app.get_name(), command->get_name());
    if (!command)
        return fmt::format("no command is given; {} would be right, and {} NAME --help explains one",
                           any_of(commands_of(app)), app.get_name());
    return fmt::format("{} ({} {} --help lists its options)", error.what(), app.get_name(),
                       command->get_name());
}

}  // namespace pictor
