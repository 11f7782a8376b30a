// What `trace diff` says about the reasons: faults told from what follows from them, causes tested on the
// numbers.
#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "tests/catch.h"
#include "tests/trace/explain_fixture.h"
#include "trace/explaining/explain.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

struct Explained {
    Trace a, b;
    Comparison comparison;
    Explanation explanation;

    Explained(const fs::path& left, const fs::path& right, const fs::path& model = {}) : a(left), b(right)
    {
        CompareOptions options;
        options.policy = Policy(fs::path("golden/tolerances.json"));
        comparison = compare_traces(a, b, options);
        ExplainOptions explain_options;
        explain_options.model = model;
        explanation = explain(comparison, a, b, explain_options);
    }
    std::string name(const Fault& fault) const { return at(comparison.tensors, fault.index).name; }
    std::string cause(std::size_t fault) const
    {
        const std::int64_t index = explanation.faults.at(fault).cause;
        return index < 0 ? "" : std::string(at(explanation.causes, index).name.text());
    }
};

const std::string vision = "vision_model.transformer.layers.0", self = "language_model.layers.0",
                  cross = "language_model.layers.1";

}  // namespace

TEST_CASE("explain: where the two references part, both faults are named and all else follows", "[explain]")
{
    for (const char* model : {"", "golden/checkpoints/base"}) {
        INFO("model: " << model);
        const Explained found("golden/cases/2x2/transformers", "golden/cases/2x2/meta", model);
        REQUIRE(found.explanation.faults.size() == 2);
        CHECK(found.name(found.explanation.faults[0]) == "vision_model");
        CHECK(found.cause(0) == "kept_states_off_by_one");
        CHECK(found.explanation.causes[0].before > 1);
        CHECK(found.explanation.causes[0].after < 1e-5);
        // Behind the kept states, which alone make every later tensor differ.
        CHECK(found.name(found.explanation.faults[1]) == "language_model.layers.1.cross_attn.o_proj");
        CHECK(found.cause(1) == "row_mask");
        CHECK(found.explanation.faults[1].also.size() == 1);  // layer 3
        CHECK(found.explanation.count(Verdict::unknown) == 0);
        CHECK(found.explanation.count(Verdict::fault) == 3);
        CHECK((found.explanation.count(Verdict::likely) == 0) == (*model != 0));
        CHECK(found.explanation.of_tensor.size() > 400);
    }
}

TEST_CASE("explain: several pictures, where generated tokens see none under Meta's rules", "[explain]")
{
    const Explained found("golden/cases/two_apart/transformers", "golden/cases/two_apart/meta",
                          "golden/checkpoints/base");
    REQUIRE(found.explanation.faults.size() == 3);
    CHECK(found.cause(0) == "kept_states_off_by_one");
    CHECK(found.cause(1) == "row_mask");
    CHECK(found.cause(2) == "generated_tokens_with_several_images");
}

TEST_CASE("explain: rounding alone is no fault, however small the tolerance", "[explain]")
{
    const Trace a("golden/cases/text_only/transformers"), b("golden/cases/text_only/meta");
    CompareOptions options;
    options.policy = Policy(Tolerance{0, 0});
    Comparison comparison = compare_traces(a, b, options);
    const Explanation explanation = explain(comparison, a, b, {"golden/checkpoints/base"});
    CHECK(explanation.of_tensor.size() > 100);
    CHECK(explanation.faults.empty());
    CHECK(explanation.count(Verdict::explained) == static_cast<std::int64_t>(explanation.of_tensor.size()));
}

TEST_CASE("explain: a fault without a known cause is still told from what follows", "[explain]")
{
    Values values = golden_values(self + ".self_attn.probs");
    values[0] += 0.25f;
    const Compared found =
        compare_parts({{self + ".self_attn.masked_scores"}}, self + ".self_attn.probs", values);
    REQUIRE(found.explanation.faults.size() == 1);
    CHECK(found.explanation.causes.empty());
    CHECK_THAT(found.explanation.faults[0].text,
               ContainsSubstring("softmax of masked_scores") && ContainsSubstring("0.25"));
}

TEST_CASE(
    "explain: a step that works number by number is judged on some of them where a tensor is too large, or "
    "sampled",
    "[explain]")
{
    struct Fault {
        std::vector<std::string> inputs;
        std::string tensor;
        Values wrong;
        const char* cause;
    };
    const std::string global = "vision_model.global_transformer.layers.0";
    std::vector<std::string> states{"vision_model.layernorm_pre", "vision_model.global_transformer.layers.1"};
    for (int layer = 0; layer < 5; ++layer)
        states.push_back(fmt::format("vision_model.transformer.layers.{}", layer));
    const std::vector<Fault> faults{
        {states, "vision_model", golden_values("vision_model", "golden/cases/2x2/transformers"),
         "kept_states_off_by_one"},
        {{vision + ".mlp.fc1"},
         vision + ".mlp.activation_fn",
         mapped(golden_values(vision + ".mlp.fc1"), [](double x) { return x / (1 + std::exp(-1.702 * x)); }),
         "exact_gelu"},
        // The vision layer's first sum, whose input has no padding rows.
        {{"vision_model.layernorm_pre", vision + ".self_attn.o_proj", vision + ".input_layernorm"},
         vision + ".residual",
         golden_values(vision + ".self_attn.o_proj"),
         "residual_missing"},
        {{global + ".mlp"},
         global + ".mlp.gated",
         mapped(golden_values(global + ".mlp.gated"), [](double x) { return -x; }),
         "gate_sign"},
        {{self + ".mlp.act_fn", self + ".mlp.gate_proj", self + ".mlp.up_proj"},
         self + ".mlp.gated",
         golden_values(self + ".mlp.act_fn"),
         "mlp_up_missing"}};
    for (const Fault& fault : faults)
        for (const GoldenStep& part :
             {GoldenStep{.inputs = fault.inputs, .largest = 300},
              GoldenStep{.inputs = fault.inputs, .values = TraceValues::sample, .sample_above = 200}}) {
            INFO(fault.tensor << ", " << (part.values == TraceValues::all ? "large" : "sampled"));
            const Compared found = compare_parts(part, fault.tensor, fault.wrong);
            REQUIRE(found.explanation.faults.size() == 1);
            CHECK(found.tensor(found.explanation.faults[0]) == fault.tensor);
            REQUIRE(found.explanation.causes.size() == 1);
            CHECK(found.explanation.causes[0].name.text() == fault.cause);
            CHECK(found.explanation.causes[0].after < 1e-4);
        }
    // The right numbers, on both sides: nothing differs, nothing is said.
    CHECK(compare_parts({.inputs = states, .values = TraceValues::sample, .sample_above = 200},
                        "vision_model", golden_values("vision_model"))
              .explanation.faults.empty());
}

TEST_CASE("explain: traces with odd shapes and headers are told, not computed", "[explain][hostile]")
{
    const TemporaryFolder folder;
    for (const char* name : {"a", "b"}) {
        TraceOptions options;
        options.folder = folder / name;
        TraceWriter writer(options);
        writer.describe("model", {{"text", {{"rope", 3}}},
                                  {"vision",
                                   {{"kept_layers", {-1, 1e9, "x"}},
                                    {"aspect_ratios", {{1}, {0, -5}, {1e12, 3}}},
                                    {"n_layers", -3}}}});
        writer.begin_step("prefill", 0, 1);
        const Values values(24, *name == 'a' ? 1.0f : 2.0f);
        const Recorder record = writer.recorder();
        for (const std::string& each :
             {std::string("vision_model"), std::string("pixel_values"), vision, vision + ".residual",
              vision + ".self_attn.scores", vision + ".self_attn.probs", vision + ".self_attn.masked_scores",
              vision + ".self_attn.context", vision + ".self_attn.q_proj", vision + ".self_attn.k_proj",
              self + ".self_attn.rotated_q", self + ".self_attn.q_proj", self + ".self_attn.scores",
              cross + ".cross_attn.masked_scores", std::string("language_model.rotary_emb.cos"),
              std::string("language_model.layers.99999999999999999999.mlp"), std::string("lm_head")})
            record(each, "x y z", {values.data(), {2, 3, 4}});
        writer.finish();
    }
    const Trace a(folder / "a"), b(folder / "b");
    Comparison comparison = compare_traces(a, b, {});
    const Explanation explanation = explain(comparison, a, b, {});
    CHECK(explanation.of_tensor.size() == 17);
}

TEST_CASE(
    "explain: BF16 against F32 cries no wolf, and a small fault is found within what rounding is allowed",
    "[explain]")
{
    const TemporaryFolder folder;
    const std::string module = "vision_model.global_transformer.layers.0.mlp";
    const auto rounded = [](float value) {  // to the nearest BF16
        const auto bits = std::bit_cast<std::uint32_t>(value);
        return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
    };
    const Trace trace("golden/cases/2x2/meta");
    for (const bool faulty : {false, true}) {
        TraceOptions options;
        options.folder = folder / (faulty ? "faulty" : "sound");
        options.values = TraceValues::all;
        TraceWriter writer(options);
        for (const char* key : {"reference", "model", "prompt", "images"})
            writer.describe(key, trace.header().at(key));
        writer.begin_step("prefill", 0, trace.steps()[0].token_count);
        for (const TraceEntry& entry : trace.entries()) {
            if (entry.step != 0 || entry.dtype == "I64")
                continue;
            Values values = trace.load(entry).values;
            for (float& value : values)
                value = value < -1e30f
                            ? std::bit_cast<float>(0xff7f0000u)
                            : rounded(faulty && entry.name == module + ".gated" ? 1.1f * value : value);
            RecordedRows rows = writer.begin(entry.name, axes_of(entry), entry.shape, "BF16", "", "");
            rows.append(values.data(), entry.size());
            rows.finish();
        }
        writer.finish();
        const Trace half(options.folder);
        CompareOptions compare;
        compare.common = true;
        compare.only = {"vision_model*", "multi_modal_projector"};
        Comparison comparison = compare_traces(half, trace, compare);
        CHECK(comparison.same);
        CHECK(comparison.rounding == "BF16");
        const Explanation explanation = explain(comparison, half, trace, {});
        for (const Fault& fault : explanation.faults)
            UNSCOPED_INFO(at(comparison.tensors, fault.index).name << ": " << fault.text);
        CHECK(comparison.same == !faulty);
        if (faulty) {
            REQUIRE(explanation.faults.size() ==
                    2);  // the gate, and the sum that the test did not change with it
            CHECK(at(comparison.tensors, comparison.first_different).name == module + ".gated");
            CHECK_THAT(explanation.faults[0].text, ContainsSubstring("the branch is multiplied by"));
        }
    }
}

TEST_CASE("page: what comes from a trace is text", "[explain][hostile]")
{
    CHECK(escape_markup("<script>alert('x')</script>&\"") ==
          "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;");
    CHECK(escape_markup(std::string("a\0b\x01\x7f\n\t", 7)) == "a\xef\xbf\xbd"
                                                               "b\xef\xbf\xbd\xef\xbf\xbd\n\t");
    CHECK(escape_markup("\xc3\xa9 \xff \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xef\xbf\xbf") ==
          "\xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
          "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd");
}

TEST_CASE("numbers in plain decimals are read as the nearest float", "[explain]")
{
    // Written by the recorder as the shortest decimal that reads back, or with more digits; the reader must
    // agree with strtof.
    Values values;
    std::uint32_t bits = 12345;
    for (int i = 0; i < 20000; ++i) {
        bits = bits * 1664525u + 1013904223u;
        values.push_back(std::ldexp(static_cast<float>(static_cast<std::int32_t>(bits)),
                                    static_cast<int>(bits >> 7) % 20 - 40));
    }
    const TemporaryFolder folder;
    TraceOptions options;
    options.folder = folder / "run";
    options.values = TraceValues::all;
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.recorder()("x", "number", {values.data(), {static_cast<std::int64_t>(values.size())}});
    writer.finish();
    const Trace trace(folder / "run");
    CHECK(trace.load(trace.entries()[0]).values == values);
    for (const char* text : {"16777217", "16777217.0", "16777219.00000", "0.1", "-0", "-0.0",
                             "0.30000001192092896", "9007199254740993", "1.00000005960464",
                             "1.000000059604645", "123456789012345", "0.00000000000001"}) {
        write_part(folder / "one", {{}}, {"vision_model.layernorm_post"}, {});
        const fs::path file = folder / "one/tensors/000-vision_model.layernorm_post.json";
        std::string content = read_text(file);
        const std::size_t begin = content.find("[\n", content.find("\"values\"")) + 2;
        content.replace(begin, content.find(',', begin) - begin, text);
        write_text(file, content);
        const Trace one(folder / "one");
        INFO(text);
        CHECK(one.load(one.entries()[0]).values[0] == std::strtof(text, nullptr));
    }
}
