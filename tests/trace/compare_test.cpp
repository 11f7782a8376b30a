#include "tests/catch.h"

#include <cmath>
#include <functional>
#include <limits>
#include <sstream>

#include "base/at.h"
#include "tests/trace/trace_fixture.h"
#include "trace/comparing/compare.h"
#include "trace/reading/places.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

constexpr float nan_value = std::numeric_limits<float>::quiet_NaN();
constexpr float infinite = std::numeric_limits<float>::infinity();

// Two small traces, the second one changed; then compared.
struct Pair {
    TemporaryFolder folder;
    SmallTrace left, right;
    TraceOptions left_options, right_options;
    CompareOptions options;

    Comparison compare()
    {
        left_options.force = right_options.force = true;
        left.write(folder / "a", left_options);
        right.write(folder / "b", right_options);
        a = std::make_unique<Trace>(folder / "a");
        b = std::make_unique<Trace>(folder / "b");
        return compare_traces(*a, *b, options);
    }
    std::string report(const Comparison& comparison) const
    {
        std::ostringstream out;
        print_comparison(out, comparison, *a, *b, options);
        return out.str();
    }
    std::unique_ptr<Trace> a, b;
};

const TensorComparison& first_of(const Comparison& comparison)
{
    REQUIRE(comparison.first_different >= 0);
    return at(comparison.tensors, comparison.first_different);
}

void write_one(const fs::path& folder, const std::vector<float>& values, TraceOptions options)
{
    options.folder = folder;
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.recorder()("x", "number", {values.data(), {static_cast<std::int64_t>(values.size())}});
    writer.finish();
}

}  // namespace

TEST_CASE("compare: the same run is the same")
{
    Pair pair;
    const Comparison comparison = pair.compare();
    CHECK(comparison.same);
    CHECK(comparison.first_different == -1);
    CHECK(comparison.tensors.size() == 4);
    CHECK_THAT(pair.report(comparison), ContainsSubstring("same: 4 tensors compared, 0 differ"));
}

TEST_CASE("compare: finds the first tensor, the worst element and the first, in words")
{
    Pair pair;
    pair.right.probs[7] += 0.01f;
    pair.right.probs[23] += 0.5f;  // head 1, token 1, key 3
    pair.right.hidden[0] += 1e-6f;
    const Comparison comparison = pair.compare();
    CHECK_FALSE(comparison.same);
    const TensorComparison& first = first_of(comparison);
    CHECK(first.name == "language_model.layers.3.cross_attn.probs");
    CHECK(first.step == 0);
    CHECK(first.off == 2);
    CHECK(first.compared == 30);
    CHECK(first.worst.position == 23);
    CHECK(first.first.position == 7);
    CHECK(first.max_error == Approx(0.5).epsilon(1e-6));
    CHECK(first.relative_error == Approx(0.5 / pair.b->find(first.name)->statistics.std).epsilon(1e-6));
    const std::string report = pair.report(comparison);
    CHECK_THAT(
        report,
        ContainsSubstring(
            "First difference: step 0, language_model.layers.3.cross_attn.probs [head 2, token 3, key 5]"));
    CHECK_THAT(
        report,
        ContainsSubstring(
            "worst  at [1, 1, 3]: head 1, token 1 \" cat\", key 3 = image 0 tile 0 patch 3 (row 1, column "
            "0)"));
    CHECK_THAT(report, ContainsSubstring("first  at [0, 1, 2]"));
    CHECK_THAT(report, ContainsSubstring("different: 4 tensors compared, 1 differ"));
    CHECK_THAT(report, ContainsSubstring("computed at tests/trace/trace_fixture.h:"));
    const nlohmann::json json = comparison_json(comparison, *pair.a, *pair.b);
    CHECK(json["same"] == false);
    CHECK(json["first_different"]["name"] == first.name);
    CHECK(json["first_different"]["worst"]["index"] == nlohmann::json({1, 1, 3}));
    CHECK(json["tensors"].size() == 4);
}

TEST_CASE("compare: the tolerance is atol + rtol x |b|, no more and no less")
{
    Pair pair;
    pair.options.policy = Policy(Tolerance{0.5, 0.25});
    pair.left.hidden[4] = 8;
    pair.right.hidden[4] = 10;  // 2 <= 0.5 + 2.5
    CHECK(pair.compare().same);
    pair.left.hidden[4] = 7;  // 3 <= 3
    CHECK(pair.compare().same);
    pair.left.hidden[4] = 6.99f;  // 3.01 > 3
    CHECK_FALSE(pair.compare().same);
    pair.left.hidden[4] = 10;
    pair.right.hidden[4] = 6.9f;  // 3.1 > 0.5 + 1.725
    CHECK_FALSE(pair.compare().same);
}

TEST_CASE("TRAP nan_passes: NaN and unequal infinities are differences", "[trap]")
{
    struct Case {
        float a, b;
        bool same;
    };
    for (const Case& each :
         {Case{nan_value, nan_value, false}, Case{nan_value, 1, false}, Case{1, nan_value, false},
          Case{1, infinite, false}, Case{infinite, 1, false}, Case{infinite, -infinite, false},
          Case{infinite, infinite, true}, Case{-infinite, -infinite, true}, Case{0, -0.0f, true}}) {
        Pair pair;
        pair.options.policy = Policy(Tolerance{1e30, 1});
        pair.left.hidden[7] = each.a;
        pair.right.hidden[7] = each.b;
        INFO(each.a << " against " << each.b);
        const Comparison comparison = pair.compare();
        CHECK(comparison.same == each.same);
        if (!each.same)
            CHECK(first_of(comparison).worst.position == 7);
        CHECK_NOTHROW(pair.report(comparison));
        CHECK_NOTHROW(comparison_json(comparison, *pair.a, *pair.b).dump());
    }
}

TEST_CASE("compare: whole numbers must be equal, also those a double cannot hold")
{
    Pair pair;
    pair.options.policy = Policy(Tolerance{100, 1});
    pair.right.ids[1] = 91;
    CHECK(first_of(pair.compare()).name == "input_ids");
    pair.left.ids[1] = 9007199254740992;
    pair.right.ids[1] = 9007199254740993;
    CHECK(first_of(pair.compare()).off == 1);
}

TEST_CASE("compare: other shapes and missing tensors fail; --common only names the missing")
{
    const TemporaryFolder folder;
    const float values[6] = {1, 2, 3, 4, 5, 6};
    const auto write = [&](const char* name, bool extra, const std::vector<std::int64_t>& shape) {
        TraceOptions options;
        options.folder = folder / name;
        TraceWriter writer(options);
        writer.begin_step("prefill", 0, 1);
        if (extra)
            writer.recorder()("extra", "token", {values, {1}});
        writer.recorder()("x", "token channel", {values, shape});
        writer.finish();
        return Trace(folder / name);
    };
    const Trace plain = write("plain", false, {2, 3}), extra = write("extra", true, {2, 3}),
                turned = write("turned", false, {3, 2});
    CHECK(compare_traces(plain, plain, {}).same);
    const Comparison shapes = compare_traces(plain, turned, {});
    CHECK_FALSE(shapes.same);
    CHECK(first_of(shapes).problem == "shape [2, 3] against [3, 2]");
    CompareOptions flat;
    flat.flat = true;
    CHECK(compare_traces(plain, turned, flat).same);
    CHECK_FALSE(compare_traces(plain, extra, {}).same);
    CHECK_FALSE(compare_traces(extra, plain, {}).same);
    CompareOptions common;
    common.common = true;
    const Comparison named = compare_traces(plain, extra, common);
    CHECK(named.same);
    REQUIRE(named.only_b.size() == 1);
    std::ostringstream out;
    print_comparison(out, named, plain, extra, common);
    CHECK_THAT(out.str(), ContainsSubstring("1 tensor is only in") && ContainsSubstring("(ignored): extra"));
    CompareOptions check;  // golden must be in the run; what else the run has is fine
    check.extra_is_fine = true;
    CHECK(compare_traces(extra, plain, check).same);
    CHECK_FALSE(compare_traces(plain, extra, check).same);
    CompareOptions nothing;
    nothing.only = {"no*such"};
    CHECK_THROWS_WITH(compare_traces(plain, extra, nothing), ContainsSubstring("no tensor in common"));
    CompareOptions only;
    only.only = {"x"};
    CHECK(compare_traces(plain, extra, only).same);
}

TEST_CASE("compare: steps come in order and are told apart")
{
    Pair pair;
    pair.right.hidden[9] = 100;  // only step 0 has it
    const Comparison comparison = pair.compare();
    CHECK(first_of(comparison).step == 0);
    CHECK(comparison.tensors[3].same);
}

TEST_CASE("compare: samples are compared where both have numbers")
{
    const TemporaryFolder folder;
    std::vector<float> values(1000), other;
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = std::sin(static_cast<float>(i));
    other = values;
    const auto options = [](TraceValues kind, std::int64_t above) {
        TraceOptions result;
        result.values = kind;
        result.sample_above = above;
        result.force = true;
        return result;
    };
    // 1000 numbers: above 100 every 11th, above 300 every 7th.
    const auto compare = [&](const TraceOptions& left, const TraceOptions& right) {
        write_one(folder / "a", values, left);
        write_one(folder / "b", other, right);
        const Trace a(folder / "a"), b(folder / "b");
        Comparison comparison = compare_traces(a, b, {});
        for (TensorComparison& tensor : comparison.tensors)
            tensor.a = tensor.b = nullptr;  // the traces go
        return comparison;
    };
    const TraceOptions all = options(TraceValues::all, 1), every11 = options(TraceValues::sample, 100),
                       every7 = options(TraceValues::sample, 300), none = options(TraceValues::none, 1);
    other[77] += 1;
    other[13] += 1;
    const Comparison whole = compare(all, all);
    CHECK(whole.tensors[0].off == 2);
    CHECK(whole.tensors[0].how == "all");
    const Comparison sampled = compare(every11, every11);
    CHECK(sampled.tensors[0].compared == 91);
    CHECK(sampled.tensors[0].off == 1);
    CHECK(sampled.tensors[0].first.position == 77);
    CHECK(sampled.tensors[0].how == "sample");
    const Comparison mixed = compare(all, every7);
    CHECK(mixed.tensors[0].compared == 143);
    CHECK(mixed.tensors[0].worst.position == 77);
    const Comparison both = compare(every11, every7);
    CHECK(both.tensors[0].compared == 13);  // every 77th
    CHECK(both.tensors[0].first.position == 77);
    const Comparison statistics = compare(all, none);
    CHECK(statistics.tensors[0].how == "statistics");
    CHECK_FALSE(statistics.same);
    CHECK_THAT(statistics.tensors[0].problem, ContainsSubstring("only statistics"));
    other = values;
    CHECK(compare(none, all).same);
    CHECK(compare(none, none).same);
}

TEST_CASE("compare: statistics alone cannot vouch for NaN")
{
    Pair pair;
    pair.left_options.values = pair.right_options.values = TraceValues::none;
    pair.left.hidden[0] = pair.right.hidden[0] = nan_value;
    CHECK_THAT(first_of(pair.compare()).problem, ContainsSubstring("NaN"));
}

TEST_CASE("compare: a broken file is an error, not a difference")
{
    Pair pair;
    pair.compare();
    for (const char* side : {"a", "b"}) {
        pair.compare();
        replace_text(pair.folder / side / "tensors/000-language_model.embed_tokens.json", "9,10,11,-12",
                     "9,10,11");
        CHECK_THROWS_WITH(compare_traces(Trace(pair.folder / "a"), Trace(pair.folder / "b"), {}),
                          ContainsSubstring("11 values"));
    }
}

TEST_CASE("compare: generated ids count when they are asked for")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "a");
    SmallTrace().write(folder / "b");
    replace_text(folder / "b/trace.json", "\"steps\"", "\"generated\": {\"token_ids\": [1, 2]},\n\"steps\"");
    CompareOptions options;
    CHECK(compare_traces(Trace(folder / "a"), Trace(folder / "b"), options).same);
    options.generated = true;
    const Comparison comparison = compare_traces(Trace(folder / "a"), Trace(folder / "b"), options);
    CHECK_FALSE(comparison.same);
    CHECK_THAT(comparison.generated_problem, ContainsSubstring("[1, 2]"));
    CHECK(
        compare_traces(Trace(folder / "b"), Trace(folder / "a"), options).same);  // the golden asks for none
}

TEST_CASE("policy: the glob with the most plain characters wins")
{
    const TemporaryFolder folder;
    write_text(folder / "policy.json",
               R"({"_": "a comment", "*": {"atol": 1, "rtol": 0}, "*.probs": {"atol": 2, "rtol": 0},
        "language_model.*.probs": {"atol": 3, "rtol": 0.5}, "input_ids": {"atol": 4, "rtol": 0}})");
    const Policy policy(folder / "policy.json");
    const auto atol = [&](const char* name, const char* dtype = "F32") {
        TraceEntry entry;
        entry.name = name;
        entry.dtype = dtype;
        return policy.for_tensor(entry, entry).atol;
    };
    CHECK(atol("lm_head") == 1);
    CHECK(atol("vision_model.probs") == 2);
    CHECK(atol("language_model.layers.1.probs") == 3);
    CHECK(atol("input_ids", "I64") == 4);
    TraceEntry half, single;
    half.name = single.name = "x";
    half.dtype = "BF16";
    single.dtype = "F32";
    CHECK(Policy().for_tensor(half, single).rtol == 8 * 0x1p-8);
    CHECK(Policy().for_tensor(single, single).rtol == 1e-4);
}

TEST_CASE("policy: bad files")
{
    const TemporaryFolder folder;
    const auto check = [&](const char* text, const char* message) {
        write_text(folder / "policy.json", text);
        INFO(text);
        CHECK_THROWS_WITH(Policy(folder / "policy.json"), ContainsSubstring(message));
    };
    check("", "is not JSON");
    check("[]", "wanted an object");
    check("{}", "want an object");
    check(R"({"*": 3})", "want an object");
    check(R"({"*": {"atol": 1}})", "\"rtol\"");
    check(R"({"*": {"atol": "1", "rtol": 0}})", "\"atol\"");
    check(R"({"*": {"atol": -1, "rtol": 0}})", "\"atol\"");
    CHECK_THROWS_WITH(Policy(folder / "none.json"), ContainsSubstring("no such file"));
}

TEST_CASE("places: indices in words")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    const Trace trace(folder / "run");
    const Places places(trace);
    const auto words = [&](const char* name, std::int64_t step, std::vector<std::string> axes,
                           std::vector<std::int64_t> shape, std::int64_t position) {
        TraceEntry entry;
        entry.name = name;
        entry.step = step;
        entry.axes = std::move(axes);
        entry.shape = std::move(shape);
        return places.describe(entry, position);
    };
    // 2 x 2 patches and the class token: 5 keys a tile, 4 tiles a picture.
    CHECK(words("x.cross_attn.probs", 0, {"key"}, {40}, 0) == "key 0 = image 0 tile 0 patch 0 (class token)");
    CHECK(words("x.cross_attn.probs", 0, {"key"}, {40}, 29) ==
          "key 29 = image 1 tile 1 patch 4 (row 1, column 1)");
    CHECK(words("vision_model.x.probs", 0, {"query"}, {32}, 15) == "query 15 = tile 1 patch 7 (padding row)");
    CHECK(words("language_model.layers.0.self_attn.probs", 0, {"token", "key"}, {3, 3}, 7) ==
          "token 2 \"<|image|>\", key 1 = token 1 \" cat\"");
    CHECK(words("lm_head", 1, {"token", "vocabulary"}, {1, 9}, 4) == "token 3, vocabulary 4");
    CHECK(words("vision_model.patch_embedding", 0, {"tile", "patch"}, {4, 4}, 4) == "tile 1, patch 0");
    CHECK(words("vision_model.layernorm_pre", 0, {"tile", "patch"}, {4, 5}, 5) ==
          "tile 1, patch 0 (class token)");
    CHECK(words("x", 0, {}, {}, 0) == "the only number");
}

TEST_CASE("places: a patch by its row and column in the picture")
{
    const TemporaryFolder folder;
    TraceOptions options;
    options.folder = folder / "run";
    TraceWriter writer(options);
    writer.describe("model", {{"vision", {{"max_tiles", 4}, {"tile_size", 28}, {"patch_size", 14}}}});
    writer.describe("images", {{{"tiles", {1, 3}}}});
    writer.begin_step("prefill", 0, 1);
    writer.finish();
    const Trace trace(options.folder);
    const Places places(trace);
    // 2 x 2 patches and the class token: 5 keys a tile, and 8 rows with padding.
    CHECK(places.patch(5, false) == "the class token of tile 1");
    CHECK(places.patch(8, false) == "patch row 1 column 2");
    CHECK(places.patch(8 + 3, true) == "patch row 1 column 2");
    CHECK(places.patch(8 + 6, true) == "padding row 1 of tile 1");
    CHECK(places.patch(16, false) == "patch row 0 column 0 of absent tile 3");
}
