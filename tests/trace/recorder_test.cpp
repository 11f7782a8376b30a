#include "tests/catch.h"

#include <cmath>
#include <csignal>
#include <limits>
#include <sys/resource.h>

#include "tests/trace/trace_fixture.h"
#include "trace/reading/reader.h"
#include "trace/recording/glob.h"
#include "trace/recording/recorder.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

TraceOptions options_for(const fs::path& folder, TraceValues values = TraceValues::all)
{
    TraceOptions options;
    options.folder = folder;
    options.values = values;
    return options;
}

}  // namespace

TEST_CASE("recorder: a recorder without a writer does nothing")
{
    const Recorder record;
    const float one = 1;
    record("x", "token", {&one, {1}});
    record("wrong axes", "token channel", {nullptr, {-3}});
    record.scope("layers", 3).integers("y", "token", {1}, {1});
    CHECK_FALSE(record.wants("x"));
    RecordedRows rows = record.begin("z", "token", {5});
    CHECK_FALSE(rows);
    rows.append(&one, 1);
    rows.finish();
}

TEST_CASE("recorder: writes what the format says")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    const auto index = nlohmann::json::parse(read_text(folder / "run/trace.json"));
    CHECK(index["format"] == "pictor-trace");
    CHECK(index["version"] == 1);
    CHECK(index["producer"] == "pictor");
    CHECK(index["reference"] == "meta");
    REQUIRE(index["tensors"].size() == 4);
    const auto& entry = index["tensors"][1];
    CHECK(entry["name"] == "language_model.embed_tokens");
    CHECK(entry["axes"] == nlohmann::json({"token", "channel"}));
    CHECK(entry["shape"] == nlohmann::json({3, 4}));
    CHECK(entry["dtype"] == "F32");
    CHECK(entry["values"] == "all");
    CHECK(entry["file"] == "tensors/000-language_model.embed_tokens.json");
    CHECK(entry["source"].get<std::string>().rfind("tests/trace/trace_fixture.h:", 0) == 0);
    CHECK(index["tensors"][0]["dtype"] == "I64");
    CHECK(index["tensors"][2]["name"] == "language_model.layers.3.cross_attn.probs");
    CHECK(index["tensors"][3]["step"] == 1);
    CHECK(index["steps"][1] ==
          nlohmann::json({{"index", 1}, {"kind", "decode"}, {"first_token", 3}, {"token_count", 1}}));
    const std::string tensor = read_text(folder / "run/tensors/000-language_model.embed_tokens.json");
    CHECK(
        tensor.rfind(
            "{\"name\": \"language_model.embed_tokens\", \"step\": 0, \"axes\": [\"token\", \"channel\"], "
            "\"shape\": [3, 4], \"dtype\": \"F32\", \"values\": [\n0.1,-2.5,3,4,\n5,6.25,7,8,\n9,10,11,-12\n"
            "], "
            "\"statistics\": {\"min\": -12, \"max\": 11,",
            0) == 0);
    CHECK(nlohmann::json::parse(tensor)["statistics"] == entry["statistics"]);
    CHECK(names_in(folder.path) == std::vector<std::string>{"run"});
}

TEST_CASE("recorder: every float reads back to the same bits")
{
    const TemporaryFolder folder;
    std::vector<float> values{0.0f,
                              -0.0f,
                              1.0f / 3,
                              std::numeric_limits<float>::lowest(),
                              std::numeric_limits<float>::min(),
                              std::numeric_limits<float>::denorm_min(),
                              -1e-40f,
                              16777216.0f,
                              1e-5f,
                              1e20f};
    std::uint32_t bits = 12345;
    while (values.size() < 20000) {
        bits = bits * 1664525 + 1013904223;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        values.push_back(value);  // NaN and infinities among them
    }
    {
        TraceWriter writer(options_for(folder / "run"));
        writer.begin_step("prefill", 0, 1);
        writer.recorder()("x", "number", {values.data(), {static_cast<std::int64_t>(values.size())}});
        writer.finish();
    }
    const Trace trace(folder / "run");
    const TraceTensor read = trace.load(*trace.find("x"));
    REQUIRE(read.values.size() == values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isnan(values[i]))
            REQUIRE(std::isnan(read.values[i]));
        else
            REQUIRE(std::memcmp(&values[i], &read.values[i], sizeof(float)) == 0);
    }
    CHECK(trace.find("x")->statistics.nonfinite > 0);
}

TEST_CASE("recorder: statistics over the whole tensor, however it arrives")
{
    const TemporaryFolder folder;
    const std::vector<float> values{1000001, 1000002, NAN, 0, 1000003, INFINITY, -1000004, 1000005};
    for (const int block : {1, 3, 8}) {
        TraceOptions options = options_for(folder / fmt::format("run{}", block), TraceValues::none);
        TraceWriter writer(options);
        writer.begin_step("prefill", 0, 1);
        RecordedRows rows = writer.recorder().begin("x", "number", {8});
        for (int at = 0; at < 8; at += block)
            rows.append(values.data() + at, std::min(block, 8 - at));
        rows.finish();
        writer.finish();
        const Trace trace(options.folder);
        const TensorStatistics& statistics = trace.find("x")->statistics;
        CHECK(statistics.min == -1000004);
        CHECK(statistics.max == 1000005);
        CHECK(statistics.nonfinite == 2);
        CHECK(statistics.zeros == 1);
        CHECK(statistics.mean == Approx(3000007.0 / 6));
        CHECK(statistics.std == Approx(763765.6447).epsilon(1e-6));
        CHECK(statistics.l2 == Approx(2236074.4641).epsilon(1e-6));
        CHECK(trace.find("x")->values == TraceValues::none);
        CHECK(trace.find("x")->file.empty());
        CHECK(fs::is_empty(options.folder / "tensors"));
    }
}

TEST_CASE("recorder: a sample wanders over every axis")
{
    const TemporaryFolder folder;
    std::vector<float> values(64 * 64);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(i);
    TraceOptions options = options_for(folder / "run", TraceValues::sample);
    options.sample_above = 64;
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.recorder()("large", "token channel", {values.data(), {64, 64}});
    writer.recorder()("small", "token", {values.data(), {64}});
    // The same in blocks keeps the same numbers.
    RecordedRows rows = writer.recorder().begin("blocks", "token channel", {64, 64});
    for (std::size_t at = 0; at < values.size(); at += 100)
        rows.append(values.data() + at,
                    static_cast<std::int64_t>(std::min<std::size_t>(100, values.size() - at)));
    rows.finish();
    writer.finish();

    const Trace trace(options.folder);
    const TraceEntry& entry = *trace.find("large");
    CHECK(entry.values == TraceValues::sample);
    CHECK(entry.sample.start == 0);
    CHECK(entry.sample.stride == 65);  // 64 would see one channel only
    const std::vector<float> kept = trace.load_kept(entry);
    REQUIRE(kept.size() == 64);
    for (std::size_t i = 0; i < kept.size(); ++i)
        CHECK(kept[i] == static_cast<float>(65 * i));
    CHECK(trace.load_kept(*trace.find("blocks")) == kept);
    CHECK(entry.statistics.max == 4095);
    CHECK(trace.find("small")->values == TraceValues::all);
    CHECK_THROWS_WITH(trace.load(entry), ContainsSubstring("only a sample"));
}

TEST_CASE("recorder: the whole tensor as .npy beside a sample")
{
    const TemporaryFolder folder;
    SmallTrace small;
    TraceOptions options;
    options.values = TraceValues::none;
    options.npy = true;
    small.write(folder / "run", options);
    const Trace trace(folder / "run");
    CHECK(trace.load(*trace.find("language_model.embed_tokens")).values == small.hidden);
    CHECK(trace.load(*trace.find("input_ids")).values == std::vector<float>{5, 90, 128256});
    CHECK(trace.load_range(*trace.find("language_model.embed_tokens"), 5, 2) == std::vector<float>{6.25f, 7});
    const std::string npy = read_text(folder / "run/tensors/000-language_model.embed_tokens.npy");
    CHECK(npy.size() == 128 + 12 * 4);
    CHECK(npy.find("'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }") != std::string::npos);
}

TEST_CASE("recorder: only the tensors asked for, and which globs matched nothing")
{
    const TemporaryFolder folder;
    TraceOptions options = options_for(folder / "run");
    options.only = {"*.probs", "lm_haed", "embed?tokens"};
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    const Recorder record = writer.recorder();
    const float one = 1;
    CHECK(record.scope("layers", 3).wants("probs"));
    CHECK_FALSE(record.wants("probs"));
    CHECK_FALSE(record.begin("scores", "token", {1}));
    record.scope("layers", 3)("probs", "token", {&one, {1}});
    record.scope("layers", 3)("scores", "token", {&one, {1}});
    CHECK(writer.unmatched() == std::vector<std::string>{"lm_haed", "embed?tokens"});
    writer.finish();
    CHECK(Trace(options.folder).entries().size() == 1);
}

TEST_CASE("recorder: globs")
{
    CHECK(glob_matches("*", ""));
    CHECK(glob_matches("a*b*c", "aXXbYYbZc"));
    CHECK_FALSE(glob_matches("a*b*c", "aXXbYYbZ"));
    CHECK(glob_matches("layers.?.mlp", "layers.3.mlp"));
    CHECK_FALSE(glob_matches("layers.?.mlp", "layers.33.mlp"));
    CHECK_FALSE(glob_matches("", "x"));
    const std::string hostile(200, 'a');
    CHECK_FALSE(glob_matches("*a*a*a*a*a*a*a*a*a*a*b", hostile));
}

TEST_CASE("recorder: an existing folder is refused unless force, and then replaced only when the new one is "
          "complete")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    CHECK_THROWS_WITH(TraceWriter(options_for(folder / "run")),
                      ContainsSubstring("exists already") && ContainsSubstring("--force"));
    TraceOptions options = options_for(folder / "run");
    options.force = true;
    {
        TraceWriter writer(options);
        writer.begin_step("prefill", 0, 1);
        CHECK(Trace(folder / "run").entries().size() == 4);  // the old one still stands
    }
    CHECK(Trace(folder / "run").entries().size() == 4);  // unfinished: nothing lost
    CHECK(names_in(folder.path) == std::vector<std::string>{"run"});
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.finish();
    CHECK(Trace(folder / "run").entries().empty());
    CHECK(names_in(folder.path) == std::vector<std::string>{"run"});
}

TEST_CASE("recorder: force does not replace what is no trace")
{
    const TemporaryFolder folder;
    fs::create_directories(folder / "photos");
    write_text(folder / "photos/cat.jpg", "x");
    TraceOptions options = options_for(folder / "photos");
    options.force = true;
    CHECK_THROWS_WITH(TraceWriter(options), ContainsSubstring("not a trace"));
    write_text(folder / "photos/trace.json", "{\"mine\": 1}");
    CHECK_THROWS_WITH(TraceWriter(options), ContainsSubstring("not a trace"));
    CHECK(read_text(folder / "photos/cat.jpg") == "x");
    write_text(folder / "file", "x");
    options.folder = folder / "file";
    CHECK_THROWS_WITH(TraceWriter(options), ContainsSubstring("a file of this name"));
    options.folder = "";
    CHECK_THROWS(TraceWriter(options));
    options.folder = folder / "file/below";
    CHECK_THROWS_WITH(TraceWriter(options), ContainsSubstring("cannot be made"));
}

TEST_CASE("recorder: a folder name may end in a slash, and its parents are made")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "some/where/run/");
    CHECK(Trace(folder / "some/where/run").entries().size() == 4);
    CHECK(names_in(folder / "some/where") == std::vector<std::string>{"run"});
}

TEST_CASE("recorder: too few and too many numbers are errors")
{
    const TemporaryFolder folder;
    const std::vector<float> values(10);
    {
        TraceWriter writer(options_for(folder / "run"));
        writer.begin_step("prefill", 0, 1);
        RecordedRows rows = writer.recorder().begin("x", "token channel", {3, 3});
        rows.append(values.data(), 5);
        CHECK_THROWS_WITH(rows.append(values.data(), 5), ContainsSubstring("has 9 numbers"));
        CHECK_THROWS_WITH(rows.finish(), ContainsSubstring("only 5"));
        CHECK_THROWS_WITH(writer.finish(), ContainsSubstring("only 5"));
    }
    {
        TraceWriter writer(options_for(folder / "run"));
        writer.begin_step("prefill", 0, 1);
        writer.recorder().begin("x", "token channel", {3, 3}).append(values.data(), 5);  // destroyed at once
        CHECK_THROWS_WITH(writer.finish(), ContainsSubstring("only 5"));
    }
    {
        TraceWriter writer(options_for(folder / "run"));
        writer.begin_step("prefill", 0, 1);
        RecordedRows open = writer.recorder().begin("x", "token", {3});
        CHECK_THROWS_WITH(writer.finish(), ContainsSubstring("still being written"));
        open.append(values.data(), 3);
    }
    CHECK(names_in(folder.path).empty());
}

TEST_CASE("recorder: misuse is named")
{
    const TemporaryFolder folder;
    TraceWriter writer(options_for(folder / "run"));
    const Recorder record = writer.recorder();
    const float one = 1;
    CHECK_THROWS_WITH(record("x", "token", {&one, {1}}), ContainsSubstring("begin_step"));
    CHECK_THROWS(writer.begin_step("warmup", 0, 1));
    CHECK_THROWS(writer.describe("tensors", 1));
    writer.begin_step("prefill", 0, 1);
    CHECK_THROWS_WITH(record("x", "token channel", {&one, {1}}), ContainsSubstring("one word per axis"));
    CHECK_THROWS_WITH(record("../x", "token", {&one, {1}}), ContainsSubstring("tensor name"));
    CHECK_THROWS_WITH(record("a/b", "token", {&one, {1}}), ContainsSubstring("tensor name"));
    CHECK_THROWS_WITH(record("y", "token", {&one, {-1}}), ContainsSubstring("shape"));
    record("x", "token", {&one, {1}});
    CHECK_THROWS_WITH(record("x", "token", {&one, {1}}), ContainsSubstring("twice"));
    writer.begin_step("decode", 1, 1);
    record("x", "token", {&one, {1}});
    record("scalar", "", {&one, {}});
    record("nothing", "token channel", {nullptr, {0, 4}});
    writer.finish();
    const Trace trace(folder / "run");
    CHECK(trace.load(*trace.find("scalar", 1)).values == std::vector<float>{1});
    CHECK(trace.load(*trace.find("nothing", 1)).values.empty());
}

TEST_CASE("recorder: rows of several tensors in turn")
{
    const TemporaryFolder folder;
    const std::vector<float> values{1, 2, 3, 4};
    TraceWriter writer(options_for(folder / "run"));
    writer.begin_step("prefill", 0, 2);
    RecordedRows scores = writer.recorder().begin("scores", "token key", {2, 2});
    RecordedRows probs = writer.recorder().begin("probs", "token key", {2, 2});
    for (int row = 0; row < 2; ++row) {
        scores.append(values.data() + 2 * row, 2);
        probs.append(values.data() + 2 - 2 * row, 2);
    }
    probs.finish();
    scores.finish();
    writer.finish();
    const Trace trace(folder / "run");
    CHECK(trace.entries()[0].name == "scores");  // the order of begin, not of finish
    CHECK(trace.load(trace.entries()[0]).values == values);
    CHECK(trace.load(trace.entries()[1]).values == std::vector<float>{3, 4, 1, 2});
}

TEST_CASE("recorder: a full disk is an error and leaves nothing behind")
{
    const TemporaryFolder folder;
    const std::vector<float> values(1 << 18, 0.123456f);
    rlimit old_limit{};
    getrlimit(RLIMIT_FSIZE, &old_limit);
    rlimit small_limit = old_limit;
    small_limit.rlim_cur = 100000;
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small_limit);
    std::string message;
    try {
        TraceWriter writer(options_for(folder / "run"));
        writer.begin_step("prefill", 0, 1);
        writer.recorder()("x", "number", {values.data(), {1 << 18}});
        writer.finish();
    } catch (const std::runtime_error& error) {
        message = error.what();
    }
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);
    CHECK_THAT(message, ContainsSubstring("000-x.json") && ContainsSubstring("cannot be written"));
    CHECK(names_in(folder.path).empty());
}

TEST_CASE("recorder: text that is no UTF-8 does not break the trace")
{
    const TemporaryFolder folder;
    {
        TraceWriter writer(options_for(folder / "run"));
        writer.describe("prompt", {{"text", "\xff\xfe"}, {"token_ids", {1}}, {"token_texts", {"\xe2\x82"}}});
        writer.finish();
    }
    CHECK(Trace(folder / "run").header()["prompt"]["text"] == "\xef\xbf\xbd\xef\xbf\xbd");
}
