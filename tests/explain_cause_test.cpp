// Every cause by name: a golden step with its inputs, and the same step with one known mistake in it.
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numbers>
#include <sstream>

#include "tests/catch.h"
#include "tests/trace_fixture.h"
#include "trace/explain/explain.h"
#include "trace/page.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

using Values = std::vector<float>;
using Tensors = std::map<std::string, Values>;

const std::string golden = "golden/cases/2x2/meta";

std::string axes_of(const TraceEntry& entry)
{
    std::string axes;
    for (const std::string& axis : entry.axes)
        axes += (axes.empty() ? "" : " ") + axis;
    return axes;
}

// Some tensors of the golden prefill, with other numbers where `changed` has them.
void write_part(const fs::path& folder, const std::vector<std::string>& names, const Tensors& changed)
{
    const Trace trace(golden);
    TraceOptions options;
    options.folder = folder;
    options.values = TraceValues::all;
    options.force = true;
    TraceWriter writer(options);
    for (const char* key : {"reference", "model", "prompt", "images"})
        writer.describe(key, trace.header().at(key));
    writer.begin_step("prefill", 0, trace.steps()[0].token_count);
    const Recorder record = writer.recorder();
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step != 0 || std::find(names.begin(), names.end(), entry.name) == names.end())
            continue;
        const std::string axes = axes_of(entry);
        const auto found = changed.find(entry.name);
        const Values values = found != changed.end() ? found->second : trace.load(entry).values;
        REQUIRE(static_cast<std::int64_t>(values.size()) == entry.size());
        if (entry.dtype == "I64")
            record.integers(entry.name, axes, std::vector<std::int64_t>(values.begin(), values.end()), entry.shape);
        else
            record(entry.name, axes, {values.data(), entry.shape});
    }
    writer.finish();
}

struct Compared {
    Comparison comparison;
    Explanation explanation;
    std::string page;
};

Compared compare_parts(const std::vector<std::string>& names, const Tensors& changed)
{
    const TemporaryFolder folder;
    write_part(folder / "a", names, changed);
    write_part(folder / "b", names, {});
    const Trace a(folder / "a"), b(folder / "b");
    Compared result;
    result.comparison = compare_traces(a, b, {});
    result.explanation = explain(result.comparison, a, b, {});
    result.comparison.explanation = std::make_shared<const Explanation>(result.explanation);
    result.page = comparison_page(result.comparison, a, b, {});
    return result;
}

Values golden_values(const std::string& name)
{
    const Trace trace(golden);
    const TraceEntry* entry = trace.find(name);
    REQUIRE(entry != nullptr);
    return trace.load(*entry).values;
}

Values mapped(const std::string& name, const std::function<double(double)>& f)
{
    Values values = golden_values(name);
    for (float& value : values)
        value = static_cast<float>(f(value));
    return values;
}

// Rows of `width` numbers whose channel i comes from channel from(i).
Values reordered(const std::string& name, std::int64_t width, const std::function<std::int64_t(std::int64_t)>& from)
{
    const Values values = golden_values(name);
    Values result = values;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        result[i] = values[static_cast<std::size_t>(at / width * width + from(at % width))];
    }
    return result;
}

void check_cause(const std::string& tensor, const std::string& cause, const std::vector<std::string>& inputs, const Values& wrong)
{
    INFO(tensor << " with " << cause);
    std::vector<std::string> names = inputs;
    names.push_back(tensor);
    const Compared found = compare_parts(names, {{tensor, wrong}});
    REQUIRE(found.explanation.faults.size() == 1);
    const Fault& fault = found.explanation.faults[0];
    CHECK(found.comparison.tensors[static_cast<std::size_t>(fault.index)].name == tensor);
    REQUIRE(fault.cause == 0);
    const Cause& first = found.explanation.causes[0];
    CHECK(first.name == cause);
    CHECK(first.after <= 0.02 * first.before);
    CHECK(first.after < 1e-4);
    CHECK_THAT(found.page, ContainsSubstring(">" + cause + "</span>"));
}

const std::string vision = "vision_model.transformer.layers.0", self = "language_model.layers.0", cross = "language_model.layers.1";

}  // namespace

TEST_CASE("cause: activations, gates and sums", "[explain]")
{
    const auto tanh_gelu = [](double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); };
    check_cause(vision + ".mlp.activation_fn", "exact_gelu", {vision + ".mlp.fc1"}, mapped(vision + ".mlp.fc1", tanh_gelu));
    check_cause(self + ".mlp.act_fn", "mlp_activation", {self + ".mlp.gate_proj"}, mapped(self + ".mlp.gate_proj", [](double x) { return std::max(0.0, x); }));
    check_cause(self + ".mlp.gated", "gate_and_up_swapped", {self + ".mlp.act_fn", self + ".mlp.up_proj", self + ".mlp.gate_proj"}, [] {
        Values values = golden_values(self + ".mlp.act_fn");
        const Values gate = golden_values(self + ".mlp.gate_proj");
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] *= gate[i];
        return values;
    }());
    const Values branch = golden_values(cross + ".cross_attn.o_proj"), gated = golden_values(cross + ".cross_attn.gated");
    check_cause(cross + ".cross_attn.gated", "gate_missing", {cross + ".cross_attn.o_proj"}, branch);
    double factor = 0;   // rows that see nothing are zero
    for (std::size_t i = 0; i < branch.size() && factor == 0; ++i)
        factor = branch[i] != 0 ? static_cast<double>(gated[i]) / branch[i] : 0;
    check_cause(cross + ".cross_attn.gated", "gate_without_tanh", {cross + ".cross_attn.o_proj"},
                mapped(cross + ".cross_attn.o_proj", [&](double x) { return x * std::atanh(factor); }));
    check_cause(self + ".residual", "residual_missing", {"language_model.embed_tokens", self + ".self_attn.o_proj"}, golden_values(self + ".self_attn.o_proj"));
}

TEST_CASE("cause: attention and RoPE", "[explain]")
{
    const std::string attention = self + ".self_attn.";
    check_cause(attention + "scores", "attention_scale", {attention + "rotated_q", attention + "rotated_k"},
                mapped(attention + "scores", [](double x) { return x * std::sqrt(8.0); }));
    check_cause(attention + "masked_scores", "causal_mask_missing", {attention + "scores"}, golden_values(attention + "scores"));
    const Values cos = golden_values("language_model.rotary_emb.cos"), sin = golden_values("language_model.rotary_emb.sin");
    Values turned = golden_values(attention + "q_proj");   // [token][4 heads][8 channels]
    for (std::size_t row = 0; row < turned.size() / 8; ++row)
        for (std::size_t pair = 0; pair < 4; ++pair) {
            float *one = &turned[row * 8 + 2 * pair], *two = one + 1, x = *one, y = *two, c = cos[row / 4 * 8 + pair], s = sin[row / 4 * 8 + pair];
            *one = x * c - y * s;
            *two = y * c + x * s;
        }
    check_cause(attention + "rotated_q", "rope_pairs_halves", {attention + "q_proj", "language_model.rotary_emb.cos", "language_model.rotary_emb.sin"}, turned);
    check_cause(attention + "rotated_k", "rope_missing", {attention + "k_proj", "language_model.rotary_emb.cos", "language_model.rotary_emb.sin"}, golden_values(attention + "k_proj"));
    check_cause(attention + "q_proj", "query_key_permutation", {self + ".input_layernorm"}, reordered(attention + "q_proj", 8, [](auto i) { return i % 2 * 4 + i / 2; }));
    check_cause(cross + ".cross_attn.q_norm", "query_and_key_norms", {cross + ".cross_attn.q_proj"}, golden_values(cross + ".cross_attn.q_proj"));
    check_cause("language_model.rotary_emb.sin", "llama3_rope_scaling", {}, [] {
        Values values = golden_values("language_model.rotary_emb.sin");
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = std::sin(static_cast<float>(i / 8) / std::pow(500000.0f, static_cast<float>(i % 4) / 4));
        return values;
    }());
}

TEST_CASE("cause: norms, whose weights the rows themselves tell", "[explain]")
{
    const std::string norm = self + ".input_layernorm", state = "language_model.embed_tokens";
    const Values x = golden_values(state), right = golden_values(norm);
    const auto changed = [&](double eps, double add) {   // by another eps, or with the weight and `add`
        Values values = right;
        for (std::size_t row = 0; row < x.size() / 32; ++row) {
            double square = 0;
            for (std::size_t i = 0; i < 32; ++i)
                square += static_cast<double>(x[row * 32 + i]) * x[row * 32 + i] / 32;
            for (std::size_t i = 0; i < 32; ++i)
                values[row * 32 + i] = static_cast<float>(right[row * 32 + i] * std::sqrt((square + 1e-5) / (square + eps)) + add * x[row * 32 + i] / std::sqrt(square + 1e-5));
        }
        return values;
    };
    check_cause(norm, "norm_eps", {state}, changed(1e-3, 0));
    check_cause(norm, "norm_one_plus_weight", {state}, changed(1e-5, 1));
    check_cause(norm, "norm_missing", {state}, x);
    check_cause(vision + ".post_attention_layernorm", "norm_missing", {vision + ".residual"}, golden_values(vision + ".residual"));
}

TEST_CASE("cause: the vision side's own", "[explain]")
{
    std::vector<std::string> states{"vision_model.layernorm_pre"};
    for (int layer = 0; layer < 5; ++layer)
        states.push_back("vision_model.transformer.layers." + std::to_string(layer));
    states.push_back("vision_model.global_transformer.layers.1");
    check_cause("vision_model", "interleaved_concat", states, reordered("vision_model", 72, [](auto i) { return i < 18 ? i : 18 + (i - 18) % 18 * 3 + (i - 18) / 18; }));
    check_cause("vision_model.post_tile_positional_embedding", "tile_embedding_missing", {"vision_model.layernorm_post"}, golden_values("vision_model.layernorm_post"));
    check_cause("vision_model.transformer.layers.1", "layers_shifted", states, golden_values("vision_model.transformer.layers.2"));
    check_cause("pixel_values", "tiles_high_before_wide", {}, reordered("pixel_values", 4 * 588, [](auto i) { const auto tile = i / 588; return (tile % 2 * 2 + tile / 2) * 588 + i % 588; }));
    check_cause("aspect_ratio_ids", "aspect_id_off_by_one", {}, {5});
    const std::string attention = vision + ".self_attn.";
    check_cause(attention + "masked_scores", "vision_mask_missing", {"aspect_ratio_ids", attention + "scores"}, golden_values(attention + "scores"));
}

TEST_CASE("explain: a fault without a known cause is still told from what follows", "[explain]")
{
    Values values = golden_values(self + ".self_attn.probs");
    values[0] += 0.25f;
    const Compared found = compare_parts({self + ".self_attn.masked_scores", self + ".self_attn.probs"}, {{self + ".self_attn.probs", values}});
    REQUIRE(found.explanation.faults.size() == 1);
    CHECK(found.explanation.causes.empty());
    CHECK_THAT(found.explanation.faults[0].text, ContainsSubstring("softmax of masked_scores") && ContainsSubstring("0.25"));
}

TEST_CASE("explain: traces with odd shapes and headers are told, not computed", "[explain][hostile]")
{
    const TemporaryFolder folder;
    for (const char* name : {"a", "b"}) {
        TraceOptions options;
        options.folder = folder / name;
        TraceWriter writer(options);
        writer.describe("model", {{"text", {{"rope", 3}}}, {"vision", {{"kept_layers", {-1, 1e9, "x"}}, {"aspect_ratios", {{1}, {0, -5}, {1e12, 3}}}, {"n_layers", -3}}}});
        writer.begin_step("prefill", 0, 1);
        const Values values(24, *name == 'a' ? 1.0f : 2.0f);
        const Recorder record = writer.recorder();
        for (const std::string& each : {std::string("vision_model"), std::string("pixel_values"), vision, vision + ".residual", vision + ".self_attn.scores", vision + ".self_attn.probs",
                                        vision + ".self_attn.masked_scores", vision + ".self_attn.context", vision + ".self_attn.q_proj", vision + ".self_attn.k_proj",
                                        self + ".self_attn.rotated_q", self + ".self_attn.q_proj", self + ".self_attn.scores", cross + ".cross_attn.masked_scores",
                                        std::string("language_model.rotary_emb.cos"), std::string("language_model.layers.99999999999999999999.mlp"), std::string("lm_head")})
            record(each, "x y z", {values.data(), {2, 3, 4}});
        writer.finish();
    }
    const Trace a(folder / "a"), b(folder / "b");
    Comparison comparison = compare_traces(a, b, {});
    const Explanation explanation = explain(comparison, a, b, {});
    CHECK(explanation.of_tensor.size() == 17);
}

TEST_CASE("explain: BF16 against F32 cries no wolf, and a small fault is found within what rounding is allowed", "[explain]")
{
    const TemporaryFolder folder;
    const std::string module = "vision_model.global_transformer.layers.0.mlp";
    const auto rounded = [](float value) {   // to the nearest BF16
        const auto bits = std::bit_cast<std::uint32_t>(value);
        return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
    };
    const Trace trace(golden);
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
                value = value < -1e30f ? std::bit_cast<float>(0xff7f0000u) : rounded(faulty && entry.name == module + ".gated" ? 1.1f * value : value);
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
            UNSCOPED_INFO(comparison.tensors[static_cast<std::size_t>(fault.index)].name << ": " << fault.text);
        CHECK(comparison.same == !faulty);
        if (faulty) {
            REQUIRE(explanation.faults.size() == 2);   // the gate, and the sum that the test did not change with it
            CHECK(comparison.tensors[static_cast<std::size_t>(comparison.first_different)].name == module + ".gated");
            CHECK_THAT(explanation.faults[0].text, ContainsSubstring("the branch is multiplied by"));
        }
    }
}

TEST_CASE("page: what comes from a trace is text", "[explain][hostile]")
{
    CHECK(html_text("<script>alert('x')</script>&\"") == "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;");
    CHECK(html_text(std::string("a\0b\x01\x7f\n\t", 7)) == "a\xef\xbf\xbd" "b\xef\xbf\xbd\xef\xbf\xbd\n\t");
    CHECK(html_text("\xc3\xa9 \xff \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xef\xbf\xbf") ==
          "\xc3\xa9 \xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd");
}

TEST_CASE("numbers in plain decimals are read as the nearest float", "[explain]")
{
    // Written by the recorder as the shortest decimal that reads back, or with more digits; the reader must agree with strtof.
    Values values;
    std::uint32_t bits = 12345;
    for (int i = 0; i < 20000; ++i) {
        bits = bits * 1664525u + 1013904223u;
        values.push_back(std::ldexp(static_cast<float>(static_cast<std::int32_t>(bits)), static_cast<int>(bits >> 7) % 20 - 40));
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
    for (const char* text : {"16777217", "16777217.0", "16777219.00000", "0.1", "-0", "-0.0", "0.30000001192092896", "9007199254740993", "1.00000005960464", "1.000000059604645", "123456789012345", "0.00000000000001"}) {
        write_part(folder / "one", {"aspect_ratio_mask", "vision_model.layernorm_post"}, {});
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
