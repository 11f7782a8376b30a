#include "tests/catch.h"

#include <algorithm>
#include <sstream>

#include "tests/trace/trace_fixture.h"
#include "trace/reading/show.h"

using namespace pictor;
using namespace pictor_test;

namespace {

std::string shown(const std::filesystem::path& folder, const std::string& name, std::int64_t step = 0)
{
    std::ostringstream out;
    const Trace trace(folder);
    if (name.empty())
        show_trace(out, trace, step);
    else
        show_tensor(out, trace, name, step);
    return out.str();
}

}  // namespace

TEST_CASE("show: an overview")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    const std::string text = shown(folder / "run", "");
    CHECK_THAT(text, ContainsSubstring("\"a cat\"") &&
                         ContainsSubstring("prefill: 3 tokens from 0 on, 3 tensors") &&
                         ContainsSubstring("decode: 1 tokens from 3 on, 1 tensors"));
    CHECK_THAT(text, ContainsSubstring("  language_model\n    embed_tokens ") &&
                         ContainsSubstring("    layers.3\n      cross_attn\n        probs "));
    CHECK_THAT(text, ContainsSubstring("[token 3, channel 4]") && ContainsSubstring("-12 .. 11"));
    CHECK_THAT(shown(folder / "run", "", 1),
               ContainsSubstring("Tensors of step 1\n  language_model\n    embed_tokens "));
    CHECK_THROWS_WITH(shown(folder / "run", "", 2), ContainsSubstring("has no step 2"));
}

TEST_CASE("show: one tensor and its slices")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    const std::string name = "language_model.embed_tokens";
    CHECK_THAT(shown(folder / "run", name), ContainsSubstring("histogram") &&
                                                ContainsSubstring("mean 4.0708") &&
                                                ContainsSubstring("0.100000001  -2.5  3  4"));
    CHECK_THAT(shown(folder / "run", name + "[1]"),
               ContainsSubstring("from token 1 \" cat\", channel 0\n  5  6.25  7  8\n"));
    CHECK_THAT(shown(folder / "run", name + "[-1,-2:]"), ContainsSubstring("\n  11  -12\n"));
    CHECK_THAT(shown(folder / "run", name + "[,1]"), ContainsSubstring("\n  -2.5\n") &&
                                                         ContainsSubstring("\n  6.25\n") &&
                                                         ContainsSubstring("\n  10\n"));
    CHECK_THAT(shown(folder / "run", name + "[0:2, :1]"),
               ContainsSubstring("\n  0.100000001\n") && ContainsSubstring("\n  5\n"));
    CHECK_THAT(shown(folder / "run", name + "[0]", 1), ContainsSubstring("step 1"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[3]"), ContainsSubstring("outside an axis of 3"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[0,0,0]"), ContainsSubstring("more axes"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[x]"), ContainsSubstring("no index"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[0"), ContainsSubstring("ends in ']'"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[2:1]"), ContainsSubstring("outside"));
    CHECK_THROWS_WITH(shown(folder / "run", name + "[99999999999999999999]"), ContainsSubstring("no index"));
    CHECK_THROWS_WITH(shown(folder / "run", "cross_attn"),
                      ContainsSubstring("did you mean language_model.layers.3.cross_attn.probs?"));
    CHECK_THROWS_WITH(shown(folder / "run", "zzz"), ContainsSubstring("has no tensor zzz"));
}

TEST_CASE("show: what a sample and statistics can show")
{
    const TemporaryFolder folder;
    TraceOptions options;
    options.values = TraceValues::sample;
    options.sample_above = 4;  // 12 numbers: every 5th, 0 5 10
    SmallTrace().write(folder / "sample", options);
    const std::string name = "language_model.embed_tokens";
    CHECK_THAT(shown(folder / "sample", name), ContainsSubstring("every 5th from 0 on, 3 of 12") &&
                                                   ContainsSubstring("histogram of the sample"));
    CHECK_THAT(shown(folder / "sample", name + "[1]"),
               ContainsSubstring("?  6.25  ?  ?") && ContainsSubstring("--trace-values all"));
    options.values = TraceValues::none;
    SmallTrace().write(folder / "none", options);
    CHECK_THAT(shown(folder / "none", name),
               ContainsSubstring("values: none") && ContainsSubstring("-12 .. 11"));
    CHECK_THROWS_WITH(shown(folder / "none", name + "[1]"), ContainsSubstring("only statistics"));
    options.npy = true;
    SmallTrace().write(folder / "npy", options);
    CHECK_THAT(shown(folder / "npy", name + "[1]"), ContainsSubstring("5  6.25  7  8"));
}

TEST_CASE("show: a slice is no way to print a million numbers")
{
    const TemporaryFolder folder;
    const std::vector<float> values(10000);
    TraceOptions options;
    options.folder = folder / "run";
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.recorder()("x", "row column", {values.data(), {100, 100}});
    writer.finish();
    CHECK_THROWS_WITH(shown(folder / "run", "x[:]"), ContainsSubstring("more than 4096"));
}

TEST_CASE("show: a trace of many tensors fits one screen, and --all lists them")
{
    const Trace trace("golden/cases/2x2/meta");
    std::ostringstream screen, all;
    show_trace(screen, trace, 0);
    show_trace(all, trace, 0, true);
    const std::string text = screen.str(), whole = all.str();
    CHECK(std::count(text.begin(), text.end(), '\n') <= 45);
    CHECK_THAT(text,
               ContainsSubstring("layers.0 to 4  (5 layers, ") && ContainsSubstring("--all lists them"));
    CHECK_THAT(text, ContainsSubstring("lm_head"));
    CHECK(std::count(whole.begin(), whole.end(), '\n') > 200);
}
