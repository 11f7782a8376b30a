// Many maps on one page.
#include <set>

#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "viz/heatmaps/contact_sheet.h"

using namespace pictor;
using pictor::testing::MadeUpRun;
using pictor::testing::TemporaryFolder;
using pictor::testing::write_made_up_run;

TEST_CASE("maps of one sheet have one scale", "[heatmap]")
{
    const TemporaryFolder temporary("heat-sheet");
    MadeUpRun made;
    // One word reads a patch with 90 %, all others the same patch with 30 %; the rest is on the class token.
    made.attention = [](std::int64_t, std::int64_t position, std::int64_t key) {
        const double share = position == 6 ? 0.9 : 0.3;
        return key == 1 ? share : key == 0 ? 1 - share : 0.0;
    };
    write_made_up_run(made, temporary.path / "run");
    const Run run(temporary.path / "run");
    const std::string sheet = contact_sheet(
        run, Sheet::answer, {.layer = 3},
        [](auto) {
            return Raster(70, 40, {200, 200, 200});
        },
        false);
    std::multiset<std::string> maps;
    const std::string begin = "base64,", end = "\"><title>attention over the picture";
    for (std::size_t at = sheet.find(end); at != std::string::npos; at = sheet.find(end, at + 1)) {
        const std::size_t start = sheet.rfind(begin, at);
        maps.insert(sheet.substr(start, at - start));
    }
    REQUIRE(maps.size() == made.answer.size());
    const std::set<std::string> kinds(maps.begin(), maps.end());
    CHECK(kinds.size() == 2);  // on scales of their own all would look alike
    CHECK_THAT(sheet, ContainsSubstring("one patch, one scale for all"));
}

TEST_CASE("heads may each have a scale of their own", "[heatmap]")
{
    const TemporaryFolder temporary("heat-heads");
    MadeUpRun made;
    // Head 1 spreads three times as far as head 0: on one scale its maps are dimmer.
    made.attention = [](std::int64_t head, std::int64_t, std::int64_t key) {
        const double share = head == 0 ? 0.9 : 0.3;
        return key == 1 ? share : key == 0 ? 1 - share : 0.0;
    };
    write_made_up_run(made, temporary.path / "run");
    const Run run(temporary.path / "run");
    const auto open = [](auto) { return Raster(70, 40, {200, 200, 200}); };
    const std::string one = contact_sheet(run, Sheet::heads, {.layer = 3}, open, false);
    const std::string each = contact_sheet(run, Sheet::heads, {.layer = 3}, open, false, true);
    CHECK_THAT(one, ContainsSubstring("one patch, one scale for all") && !ContainsSubstring("head 1 30.0 %"));
    CHECK_THAT(each, ContainsSubstring("head 0 90.0 %") && ContainsSubstring("head 1 30.0 %") &&
                         ContainsSubstring("one patch, each column its own"));
}
