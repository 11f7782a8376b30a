// What `trace diff` says of runs that differ in how they store their numbers: other dtypes, padding, caches,
// NaN, tensors that one side lacks.
#include <bit>
#include <cmath>
#include <sstream>

#include "base/at.h"
#include "tests/trace/explain_fixture.h"

using namespace pictor;
using namespace pictor_test;

namespace {

const std::string golden = "golden/cases/2x2/meta", layer = "language_model.layers.0.";

// A copy of the first step of a golden trace, each tensor as `change` leaves it; false leaves it out.
struct Copied {
    std::vector<float> values;
    std::vector<std::int64_t> shape;
    std::string dtype;
};
using Change = std::function<bool(const TraceEntry& entry, Copied& copied)>;

void write_copy(const std::filesystem::path& folder, const Change& change)
{
    const Trace trace(golden);
    TraceOptions options;
    options.folder = folder;
    TraceWriter writer(options);
    for (const char* key : {"reference", "model", "prompt", "images"})
        writer.describe(key, trace.header().at(key));
    writer.begin_step("prefill", 0, 11);
    for (const TraceEntry& entry : trace.entries()) {
        const NameParts parts = split_name(entry.name);
        if (entry.step > 0 || entry.name.starts_with("vision_model") || parts.layer > 1)
            continue;
        Copied copied{trace.load(entry).values, entry.shape, entry.dtype};
        if (!change(entry, copied))
            continue;
        RecordedRows rows = writer.begin(entry.name, axes_of(entry), copied.shape, copied.dtype, "", "");
        if (copied.dtype == "I64") {
            const std::vector<std::int64_t> whole(copied.values.begin(), copied.values.end());
            rows.append(whole.data(), static_cast<std::int64_t>(whole.size()));
        } else
            rows.append(copied.values.data(), static_cast<std::int64_t>(copied.values.size()));
        rows.finish();
    }
    writer.finish();
}

bool as_it_is(const TraceEntry&, Copied&) { return true; }

float rounded(float value)
{
    std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    return std::bit_cast<float>(bits);
}

struct Told {
    Comparison comparison;
    std::string text;
};

Told compare_copies(const Change& change, const CompareOptions& options = {})
{
    const TemporaryFolder folder;
    write_copy(folder / "a", change);
    write_copy(folder / "b", as_it_is);
    const Trace a(folder / "a"), b(folder / "b");
    Told told{compare_traces(a, b, options), ""};
    told.comparison.explanation = std::make_shared<const Explanation>(explain(told.comparison, a, b, {}));
    std::ostringstream out;
    print_comparison(out, told.comparison, a, b, options);
    told.text = out.str();
    for (TensorComparison& tensor : told.comparison.tensors)
        tensor.a = tensor.b = nullptr;  // the traces end here
    return told;
}

bool names(const Told& told, const std::string& cause)
{
    const std::vector<Cause>& causes = told.comparison.explanation->causes;
    return std::any_of(causes.begin(), causes.end(),
                       [&](const Cause& each) { return each.name.text() == cause; });
}

}  // namespace

TEST_CASE("CAUSE rounded_to_16_bits: one softmax of a float32 model is kept in BF16", "[explain]")
{
    const auto one_softmax = [](const TraceEntry& entry, Copied& copied) {
        if (entry.name == layer + "self_attn.probs") {
            copied.dtype = "BF16";
            for (float& value : copied.values)
                value = rounded(value);
        }
        return true;
    };
    const Told told = compare_copies(one_softmax);
    INFO(told.text);
    CHECK(!told.comparison.same);
    CHECK(names(told, cause_under_test()));
    CHECK(told.text.find("First difference: step 0, " + layer + "self_attn.probs") == 0);
    CHECK(told.text.find("16-bit numbers begin here: a keeps this in BF16") != std::string::npos);
    CompareOptions meant;
    meant.dtype = "BF16";
    CHECK(compare_copies(one_softmax, meant).comparison.same);
}

TEST_CASE("a run that computes in BF16 from its first number on is compared as one", "[explain]")
{
    const Told told = compare_copies([](const TraceEntry& entry, Copied& copied) {
        if (copied.dtype == "F32" && !entry.name.starts_with("language_model.rotary_emb.")) {
            copied.dtype = entry.name == "pixel_values" ? "F32" : "BF16";  // as recorders used to store them
            for (float& value : copied.values)
                value = rounded(value);
        }
        return true;
    });
    INFO(told.text);
    CHECK(told.comparison.same);
    CHECK(told.comparison.rounding == "BF16");
    CHECK(told.comparison.explanation->faults.empty());
}

TEST_CASE(
    "CAUSE nan_made: the step that makes the first NaN is named, and those it is passed to are not counted",
    "[explain]")
{
    const auto make_nan = [](const TraceEntry& entry, Copied& copied) {
        const bool behind = entry.name == layer + "self_attn.context" ||
                            entry.name == layer + "self_attn.o_proj" || entry.name == layer + "residual" ||
                            entry.name == "language_model.layers.0";
        if (entry.name == layer + "self_attn.probs" || behind)
            copied.values[3] = std::nanf("");
        return true;
    };
    const Told told = compare_copies(make_nan);
    INFO(told.text);
    REQUIRE(told.comparison.explanation->faults.size() == 1);
    CHECK(names(told, cause_under_test()));
    CHECK(told.text.find("a makes the first NaN here: 1 of 484 numbers") != std::string::npos);
    CHECK(told.comparison.explanation->count(Verdict::explained) == 4);
}

TEST_CASE("a mask of minus infinity makes no NaN", "[explain]")
{
    const Told told = compare_copies([](const TraceEntry& entry, Copied& copied) {
        if (entry.name == layer + "self_attn.masked_scores")
            for (float& value : copied.values)
                value = value < -1e30f ? -INFINITY : value;
        return true;
    });
    CHECK(!names(told, "nan_made"));
}

TEST_CASE("a prompt padded on the left is compared from its first word on", "[explain]")
{
    constexpr std::int64_t extra = 3;
    const Told told = compare_copies([](const TraceEntry& entry, Copied& copied) {
        std::vector<std::int64_t> wide = entry.shape;
        const bool own_keys = entry.name.find("cross_attn") == std::string::npos;
        for (std::size_t axis = 0; axis < wide.size(); ++axis)
            wide[axis] += entry.axes[axis] == "token" || (entry.axes[axis] == "key" && own_keys) ? extra : 0;
        std::vector<float> values(static_cast<std::size_t>(checked_size("wide", wide)), 7.0f);
        for (std::int64_t i = 0; i < checked_size("wide", wide); ++i) {
            const std::vector<std::int64_t> place = unravel(i, wide);
            bool real = true;
            std::int64_t from = 0;
            for (std::size_t axis = 0; axis < wide.size(); ++axis) {
                const std::int64_t index = place[axis] - (wide[axis] - entry.shape[axis]);
                real = real && index >= 0;
                from = from * entry.shape[axis] + index;
            }
            const auto slot = static_cast<std::size_t>(i);
            values[slot] = real ? at(copied.values, from) : entry.name.ends_with(".probs") ? 0 : 7.0f;
        }
        copied.values = values;
        copied.shape = wide;
        return true;
    });
    INFO(told.text);
    CHECK(told.comparison.same);
    CHECK(told.text.find("a has 3 tokens of padding in front of its prompt") != std::string::npos);
}

TEST_CASE(
    "a static cache with spare keys is compared over the keys there are; spare keys with weight are not",
    "[explain]")
{
    for (const float weight : {0.0f, 0.5f}) {
        const Told told = compare_copies([weight](const TraceEntry& entry, Copied& copied) {
            const std::string leaf = split_name(entry.name).leaf;
            if (leaf != "self_attn.scores" && leaf != "self_attn.masked_scores" && leaf != "self_attn.probs")
                return true;
            const std::int64_t keys = entry.shape.back(), spare = 2;
            std::vector<float> wide;
            for (std::size_t i = 0; i < copied.values.size(); ++i) {
                wide.push_back(copied.values[i]);
                if ((static_cast<std::int64_t>(i) + 1) % keys == 0)
                    wide.insert(wide.end(), spare, leaf == "self_attn.probs" ? weight : -1e9f);
            }
            copied.values = wide;
            copied.shape.back() += spare;
            return true;
        });
        INFO(told.text);
        CHECK(told.comparison.same == (weight == 0));
        if (weight == 0)
            CHECK(told.text.find("a has room for more keys than there are tokens (a static cache)") !=
                  std::string::npos);
    }
}

TEST_CASE("a tensor that only one side has is said first, and rules reach across the gap", "[explain]")
{
    const Told told = compare_copies([](const TraceEntry& entry, Copied& copied) {
        if (entry.name == layer + "mlp.gated")
            return false;
        if (entry.name == layer + "mlp")
            copied.values[0] += 1;
        return true;
    });
    INFO(told.text);
    CHECK(told.text.find("1 tensor is only in ") == 0);
    REQUIRE(told.comparison.explanation->faults.size() == 1);
    CHECK(told.comparison.explanation->faults[0].text.find("the inputs agree") != std::string::npos);
}

TEST_CASE("comparisons with --model read nothing out of bounds", "[explain]")
{
    for (const char* name : {"2x2", "text_before", "two_apart", "text_only"}) {
        INFO(name);
        const std::filesystem::path folder = std::filesystem::path("golden/cases") / name;
        const Compared found = compare_folders(folder / "transformers", folder / "meta", {base_checkpoint});
        CHECK(found.comparison.tensors.size() > 10);
        for (const Fault& fault : found.explanation.faults)
            CHECK(found.tensor(fault).find("vision_model.transformer.layers") == std::string::npos);
    }
    // Vision's output projection, differing: orders of heads do not apply to [image tile patch channel].
    const std::string projection = "vision_model.transformer.layers.0.self_attn.o_proj";
    Values wrong = golden_values(projection);
    std::reverse(wrong.begin(), wrong.end());
    GoldenStep part{{"vision_model.transformer.layers.0.self_attn.context"}};
    part.model = base_checkpoint;
    const Compared found = compare_parts(part, projection, wrong);
    CHECK(found.explanation.faults.size() == 1);
}
