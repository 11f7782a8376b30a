// Every file of tests/fuzz/corpus through its target, as the fuzzer would run it: what once broke something,
// and a seed or two that must be read.
#include <chrono>
#include <filesystem>

#include "tests/catch.h"
#include "tests/fuzz/targets.h"
#include "tests/fuzz/well_formed.h"
#include "tests/trace/trace_fixture.h"

namespace fs = std::filesystem;

TEST_CASE("fuzz: the committed corpus")
{
    for (const pictor_fuzz::Target& target : pictor_fuzz::targets) {
        const fs::path folder = fs::path("tests/fuzz/corpus") / target.name;
        INFO(folder.string());
        REQUIRE(fs::is_directory(folder));
        int n_read = 0, n_files = 0;
        for (const auto& entry : fs::directory_iterator(folder)) {
            INFO(entry.path().string());
            const auto start = std::chrono::steady_clock::now();
            bool refused = false;
            CHECK_NOTHROW(refused = pictor_fuzz::run_target(target, pictor_test::read_text(entry.path())));
            CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
            n_read += !refused;
            ++n_files;
        }
        CHECK(n_files > 0);
        CHECK(n_read > 0);  // a corpus that is refused to the last file tries the first lines of a reader
    }
}

TEST_CASE("fuzz: the checks of markup find what is broken")
{
    CHECK_NOTHROW(pictor_fuzz::require_well_formed("<a b=\"&lt;\"><c/>&#65;<!-- x --></a>"));
    for (const char* broken : {"<a>", "<a></b>", "<a b=c/>", "<a b=\"1\" b=\"2\"/>", "<a b=\"<\"/>", "&",
                               "<a>\x01</a>", "<a b=\"", "\xff", "<>"})
        CHECK_THROWS_AS(pictor_fuzz::require_well_formed(broken), std::logic_error);
    CHECK_NOTHROW(pictor_fuzz::require_whole_page("<html><script>1</script></html>\n"));
    for (const char* broken : {"<html><script>1</script></script></html>\n", "<html></html>", "<html>"})
        CHECK_THROWS_AS(pictor_fuzz::require_whole_page(broken), std::logic_error);
    CHECK_THROWS_AS(pictor_fuzz::require_no_controls("\x1b[2J"), std::logic_error);
    CHECK_THROWS(pictor_fuzz::find_target("no such"));
}
