// What a heatmap weighs: values and gates, rows of the vision encoder, and which word is asked for.
#include "base/at.h"
#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "viz/heatmaps/heatmap.h"

using namespace pictor;
using pictor::testing::MadeUpRun;
using pictor::testing::TemporaryFolder;
using pictor::testing::write_made_up_run;

namespace {

constexpr std::int64_t n_tokens = 3, n_tiles = 2, keys_per_tile = 5, n_keys = n_tiles * keys_per_tile;
constexpr std::int64_t n_heads = 4, n_kv_heads = 2, gate_width = 3;

void describe_run(TraceWriter& writer)
{
    writer.describe("prompt", {{"token_ids", {0, 1, 2}}, {"token_texts", {"<|image|>", "a", "b"}}});
    writer.describe("generated", {{"token_ids", {3}}, {"token_texts", {" word"}}});
    writer.describe("images", {{{"file", "picture.png"},
                                {"size", {4, 8}},
                                {"resized", {4, 8}},
                                {"tiles", {1, n_tiles}},
                                {"tile_size", 4},
                                {"patch_size", 2}}});
    writer.begin_step("prefill", 0, n_tokens);
}

std::vector<float> numbers(std::int64_t count, const std::function<double(std::int64_t)>& number)
{
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i)
        values.push_back(static_cast<float>(number(i)));
    return values;
}

}  // namespace

TEST_CASE("weighed by values: attention x length of the value x |tanh(gate)|", "[heatmap]")
{
    const TemporaryFolder temporary("heat-weighed");
    TraceOptions options;
    options.folder = temporary.path / "run";
    options.values = TraceValues::all;
    TraceWriter writer(options);
    describe_run(writer);
    const std::vector<float> probs = numbers(n_heads * n_tokens * n_keys, [](auto) { return 0.1; });
    // 3, 4 times (key + 1) times (key head + 1): lengths of 5 times as much.
    const std::vector<float> v = numbers(n_keys * n_kv_heads * 2, [](std::int64_t i) {
        return static_cast<double>((3 + i % 2) * (i / 2 / n_kv_heads + 1) * (i / 2 % n_kv_heads + 1));
    });
    const std::vector<float> branch = numbers(n_tokens * gate_width, [](auto i) { return i + 1.0; });
    const std::vector<float> gated = numbers(n_tokens * gate_width, [](auto i) { return -0.5 * (i + 1.0); });
    const Recorder record = writer.recorder().scope("language_model").scope("layers", 3).scope("cross_attn");
    record("probs", "head token key", {probs.data(), {n_heads, n_tokens, n_keys}});
    record("v_proj", "key head channel", {v.data(), {n_keys, n_kv_heads, 2}});
    record("o_proj", "token channel", {branch.data(), {n_tokens, gate_width}});
    record("gated", "token channel", {gated.data(), {n_tokens, gate_width}});
    writer.finish();

    const Run run(options.folder);
    HeatRequest request;
    request.layer = 3;
    request.token = 3;
    request.weigh_values = true;
    read_head("1", n_heads, request);  // the second of two query heads that share key head 0
    const Heat heat = make_heat(run, request);
    CHECK(heat.gate == Approx(-0.5));
    CHECK(heat.grid.at(0) == Approx(0.1 * 5 * 2 * 0.5));        // key 1, behind the class token
    CHECK(heat.grid.at(3) == Approx(0.1 * 5 * (7 + 1) * 0.5));  // key 7: tile 1, its second patch
    CHECK(heat.ledger.class_tokens == Approx(0.1 * 5 * (1 + 6) * 0.5));
}

TEST_CASE("a vision layer's map is the query's own row, its padding rows apart", "[heatmap]")
{
    const TemporaryFolder temporary("heat-vision");
    TraceOptions options;
    options.folder = temporary.path / "run";
    options.values = TraceValues::all;
    TraceWriter writer(options);
    describe_run(writer);
    constexpr std::int64_t rows = n_tiles * 8;  // 5 of each tile, filled up to 8
    const std::vector<float> probs = numbers(rows * rows, [](std::int64_t i) {
        return static_cast<double>(i / rows) + static_cast<double>(i % rows) / 100;  // query, key
    });
    writer.recorder()("vision_model.transformer.layers.0.self_attn.probs", "image head query key",
                      {probs.data(), {1, 1, rows, rows}});
    writer.finish();

    const Run run(options.folder);
    const VisionHeat heat = make_vision_heat(run, "vision.0", "mean", 0, {0, 3});  // row 10: tile 1, patch 2
    CHECK(heat.grid.at(0) == Approx(10.01));
    CHECK(heat.grid.at(3) == Approx(10.10));
    CHECK(heat.grid.at(4) == Approx(10.03));
    CHECK(heat.ledger.class_tokens == Approx(10.00 + 10.08));
    CHECK(heat.ledger.padding_rows == Approx(60 + 0.05 + 0.06 + 0.07 + 0.13 + 0.14 + 0.15));
    CHECK(heat.ledger.padding == 0);
}

TEST_CASE("a word of the answer comes before the same word of the prompt", "[heatmap]")
{
    const TemporaryFolder temporary("heat-word");
    MadeUpRun made;
    made.answer = {"I", " see", " What"};
    write_made_up_run(made, temporary.path / "run");
    const Run run(temporary.path / "run");
    CHECK(run.find_token("What") == 7);
    CHECK(run.find_token("?") == 3);
}
