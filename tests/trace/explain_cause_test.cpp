// Every cause that `trace diff` can name has a test that bears its name.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "tests/catch.h"
#include "trace/explaining/causes.h"

TEST_CASE("the causes that are known and the causes that are tested are the same", "[explain]")
{
    const std::set<std::string> known(std::begin(pictor::known_causes), std::end(pictor::known_causes));
    CHECK(known.size() == std::size(pictor::known_causes));  // none twice
    const std::regex pattern("TEST_CASE\\(\\s*\"CAUSE ([a-z0-9_]+): [^\"]*\",\\s*\"[^\"]*\\[explain\\]");
    std::set<std::string> tested;
    for (const auto& entry : std::filesystem::directory_iterator("tests/trace")) {
        if (entry.path().extension() != ".cpp")
            continue;
        std::ifstream file(entry.path());
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match)
            CHECK(tested.insert((*match)[1]).second);
    }
    for (const std::string& name : known) {
        INFO(name << " is a cause in trace/explaining/causes.h without a test \"CAUSE " << name << ": ...\"");
        CHECK(tested.count(name) == 1);
    }
    for (const std::string& name : tested) {
        INFO("\"CAUSE " << name << "\" is tested, but it is not in trace/explaining/causes.h");
        CHECK(known.count(name) == 1);
    }
}

TEST_CASE("every known cause is one that some step can name", "[explain]")
{
    std::string sources;
    for (const auto& entry : std::filesystem::directory_iterator("trace/explaining"))
        if (entry.path().filename() != "causes.h") {
            std::ifstream file(entry.path());
            sources += std::string{std::istreambuf_iterator<char>(file), {}};
        }
    for (const std::string_view name : pictor::known_causes) {
        INFO(name);
        CHECK(sources.find("\"" + std::string(name) + "\"") != std::string::npos);
    }
}
