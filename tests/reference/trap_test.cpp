// A quirk that looks like a bug is marked TRAP(name) where it stands, and a test case bears that name.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>

#include "tests/catch.h"

namespace {

// Every match's first group in the C++ files of these folders, with the file where it was found first.
std::map<std::string, std::string> find_names(const std::vector<std::string>& folders,
                                              const std::regex& pattern)
{
    std::map<std::string, std::string> names;
    for (const std::string& folder : folders) {
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
            if (entry.path().extension() != ".cpp" && entry.path().extension() != ".h")
                continue;
            std::ifstream file(entry.path());
            const std::string text{std::istreambuf_iterator<char>(file), {}};
            for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
                names.emplace((*match)[1], entry.path().string());
        }
    }
    return names;
}

const std::regex marked("// TRAP\\(([a-z0-9_]+)\\)");
const std::regex tested("TEST_CASE\\(\\s*\"TRAP ([a-z0-9_]+): [^\"]*\",\\s*\"[^\"]*\\[trap\\]");

}  // namespace

TEST_CASE("every trap marked in the sources has a test of its name", "[trap]")
{
    const std::map<std::string, std::string> marks =
                                                 find_names({"base", "reference", "trace", "viz"}, marked),
                                             tests = find_names({"tests"}, tested);
    CHECK(marks.size() >= 25);
    for (const auto& [name, file] : marks) {
        INFO("TRAP(" << name << ") in " << file);
        CHECK(tests.count(name) == 1);
    }
}

TEST_CASE("every test of a trap has its mark in the sources", "[trap]")
{
    const std::map<std::string, std::string> marks =
                                                 find_names({"base", "reference", "trace", "viz"}, marked),
                                             tests = find_names({"tests"}, tested);
    CHECK(tests.size() >= 25);
    for (const auto& [name, file] : tests) {
        INFO("TRAP " << name << " in " << file);
        CHECK(marks.count(name) == 1);
    }
}

TEST_CASE("a mark is spelt so that it is found", "[trap]")
{
    // TRAP in capitals with any other spelling would escape the two checks above.
    const std::map<std::string, std::string> any =
        find_names({"base", "reference", "trace", "viz"},
                   std::regex("(//[^\\n]*\\bTRAP\\b(?!\\([a-z0-9_]+\\):)[^\\n]*)"));
    for (const auto& [line, file] : any)
        UNSCOPED_INFO(file << ": " << line);
    CHECK(any.empty());
    const std::map<std::string, std::string> cases = find_names(
        {"tests"},
        std::regex("TEST_CASE\\(\\s*\"(TRAP(?! [a-z0-9_]+: [^\"]*\",\\s*\"[^\"]*\\[trap\\])[^\\n]*)"));
    for (const auto& [line, file] : cases)
        UNSCOPED_INFO(file << ": " << line);
    CHECK(cases.empty());
}
