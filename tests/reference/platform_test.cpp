// How far a long run is, in words.
#include "reference/platform.h"
#include "tests/catch.h"

using namespace pictor;

TEST_CASE("progress: what is being done, how much of it is done, and the time that is left", "[progress]")
{
    CHECK(progress_text("running", -1, 3.9, true) == "running, 3 s");
    CHECK(progress_text("writing", 0.25, 10, false) == "writing, 25 %, 10 s, 30 s left");
    CHECK(progress_text("writing", 0.25, 10, true) ==
          "writing  [#####               ] 25 %, 10 s, 30 s left");
    CHECK(progress_text("writing", 0.01, 2, false) == "writing, 1 %, 2 s");  // too early to say
    CHECK(progress_text("writing", 1, 8, true) == "writing  [####################] 100 %, 8 s, 0 s left");
}
