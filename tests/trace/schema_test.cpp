// Traces of the recorder against trace/schema.json, and the Python side of the format against the C++ side.
#include "tests/catch.h"

#include <cmath>
#include <cstdlib>

#include "tests/trace/trace_fixture.h"
#include "trace/comparing/compare.h"
#include "trace/reading/reader.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

struct Outcome {
    int status;
    std::string text;
};

Outcome run(const TemporaryFolder& folder, const std::string& command)
{
    const fs::path output = folder / "output.txt";
    const int status =
        std::system(fmt::format("PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=trace/python {} > {} 2>&1", command,
                                output.string())
                        .c_str());
    return {status, read_text(output)};
}

// Debian's python3 brings the two modules under this path even where another python3 comes first.
std::string python_with(const TemporaryFolder& folder, const std::string& module)
{
    for (const char* python : {"python3", "/usr/bin/python3"})
        if (run(folder, fmt::format("{} -c 'import {}'", python, module)).status == 0)
            return python;
    return "";
}

void write_python(const TemporaryFolder& folder, const std::string& code)
{
    write_text(folder / "script.py", code);
}

}  // namespace

TEST_CASE("schema: traces of every kind are valid")
{
    const TemporaryFolder folder;
    const std::string python = python_with(folder, "jsonschema");
    if (python.empty()) {
        WARN("not checked: no python3 with jsonschema (Debian: python3-jsonschema)");
        return;
    }
    SmallTrace small;
    small.hidden[2] = NAN;
    small.hidden[5] = -INFINITY;
    small.probs.assign(30, INFINITY);  // no finite number left
    std::string folders;
    for (TraceValues values : {TraceValues::all, TraceValues::sample, TraceValues::none})
        for (bool npy : {false, true}) {
            TraceOptions options;
            options.values = values;
            options.sample_above = values == TraceValues::sample ? 4 : 1000;
            options.npy = npy;
            const fs::path run = folder / fmt::format("run-{}-{}", trace_values_text(values), npy);
            small.write(run, options);
            folders += " " + run.string();
        }
    const Outcome outcome = run(folder, python + " tests/trace/validate_trace.py" + folders);
    INFO(outcome.text);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.text, ContainsSubstring("22 passed, 0 failed"));
}

TEST_CASE("schema: the validator sees what is wrong")
{
    const TemporaryFolder folder;
    const std::string python = python_with(folder, "jsonschema");
    if (python.empty()) {
        WARN("not checked: no python3 with jsonschema (Debian: python3-jsonschema)");
        return;
    }
    struct Case {
        const char *file, *from, *to;
    };
    const char* const hidden = "tensors/000-language_model.embed_tokens.json";
    std::string folders;
    const Case cases[] = {
        {"trace.json", "\"version\": 1", "\"version\": 2"},
        {"trace.json", "\"producer\"", "\"programme\""},
        {"trace.json", "\"axes\": [\"token\", \"channel\"]", "\"axes\": [\"token\"]"},
        {"trace.json", "\"dtype\": \"F32\"", "\"dtype\": \"F8\""},
        {"trace.json", "tensors/000-language", "../tensors/000-language"},
        {"trace.json", "\"values\": \"all\"", "\"values\": \"sample\""},
        {"trace.json", "\"max\": 11", "\"max\": 12"},
        {"trace.json", "\"step\": 1", "\"step\": 0"},
        {"trace.json", "\"source\": \"", "\"source\": \"/"},
        {hidden, "9,10,11,-12", "9,10,11"},
        {hidden, "9,10,11,-12", "9,10,11,true"},
        {hidden, "9,10,11,-12", "9,10,11,NaN"},
        {hidden, "9,10,11,-12", "9,10,11,\"nan\""},
        {hidden, "9,10,11,-12", "9,10,99,-12"},
        {hidden, "\"shape\": [3, 4]", "\"shape\": [4, 3]"},
        {hidden, "\"dtype\"", "\"type\""},
        {hidden, "3,4,\n5", "3,4,5"},
    };
    for (std::size_t i = 0; i < std::size(cases); ++i) {
        const fs::path run = folder / fmt::format("run{}", i);
        SmallTrace().write(run);
        replace_text(run / cases[i].file, cases[i].from, cases[i].to);
        folders += " " + run.string();
    }
    SmallTrace().write(folder / "unlisted");
    write_text(folder / "unlisted/tensors/extra.json", "{}");
    folders += " " + (folder / "unlisted").string();
    const Outcome outcome = run(folder, python + " tests/trace/validate_trace.py" + folders);
    CHECK(outcome.status != 0);
    for (std::size_t i = 0; i < std::size(cases); ++i) {
        INFO(cases[i].file << ": " << cases[i].from << " -> " << cases[i].to << "\n" << outcome.text);
        CHECK(outcome.text.find((folder / fmt::format("run{}/", i)).string()) != std::string::npos);
    }
    CHECK_THAT(outcome.text, ContainsSubstring("unlisted/trace.json: files"));
}

TEST_CASE("schema: load_trace.py gives numpy what the recorder wrote")
{
    const TemporaryFolder folder;
    const std::string python = python_with(folder, "numpy");
    if (python.empty()) {
        WARN("not checked: no python3 with numpy (Debian: python3-numpy)");
        return;
    }
    SmallTrace small;
    small.hidden[2] = -INFINITY;
    small.hidden[0] = 1.0f / 3;
    small.write(folder / "run");
    TraceOptions options;
    options.values = TraceValues::sample;
    options.sample_above = 4;
    small.write(folder / "sample", options);
    write_python(folder, R"(
import sys
import numpy as np
from load_trace import load_trace
trace = load_trace(sys.argv[1] + "/run")
hidden = trace["language_model.embed_tokens"]
assert hidden.dtype == np.float32 and hidden.shape == (3, 4)
assert hidden[0, 0] == np.float32(1) / np.float32(3) and hidden[0, 2] == -np.inf and hidden[2, 3] == -12
assert trace["language_model.embed_tokens", 1].shape == (1, 4)
assert trace["input_ids"].dtype == np.int64 and trace["input_ids"].tolist() == [5, 90, 128256]
assert trace.names()[0] == "input_ids" and len(trace) == 4
assert ("lm_head", 0) not in trace and "input_ids" in trace
assert trace.header["prompt"]["text"] == "a cat"
for bad in ("lm_head", ("input_ids", 1)):
    try:
        trace[bad]
    except KeyError as error:
        assert "no tensor" in str(error)
    else:
        raise AssertionError(bad)
sample = load_trace(sys.argv[1] + "/sample")
places, values = sample.sample("language_model.embed_tokens")
assert places.tolist() == [0, 5, 10] and values.tolist()[1:] == [6.25, 11]
try:
    sample["language_model.embed_tokens"]
except ValueError as error:
    assert "sample" in str(error)
else:
    raise AssertionError("a sample is not the tensor")
print("fine")
)");
    const Outcome outcome =
        run(folder, fmt::format("{} {} {}", python, (folder / "script.py").string(), folder.path.string()));
    INFO(outcome.text);
    CHECK(outcome.status == 0);
    CHECK(outcome.text == "fine\n");
}

// Writes the traces "all", "sample" and "none", then does what must fail.
const char* const writes_traces = R"(
import sys
import numpy as np
from load_trace import load_trace
from write_trace import TraceWriter
bits = np.random.default_rng(1).integers(0, 1 << 32, 3000, dtype=np.uint64).astype(np.uint32)
numbers = bits.view(np.float32).reshape(3, 1000)
small = np.array([[1/3, -2.5], [np.nan, np.inf]], dtype=np.float32)
for values in ("all", "sample", "none"):
    folder = f"{sys.argv[1]}/{values}"
    with TraceWriter(folder, producer="test 1", reference="meta", values=values, sample_above=100) as trace:
        trace.describe("prompt", {"text": "\u00e9", "token_ids": [1], "token_texts": ["\u00e9"]})
        trace.begin_step("prefill", 0, 2)
        trace.tensor("input_ids", "token", np.array([1, 2**53 + 1]))
        trace.tensor("small", "token channel", small, source="engine/model.py:12", chapter="rope")
        trace.tensor("noise", "token channel", numbers, dtype="BF16")
        trace.tensor("scalar", "", 7.5)
        trace.tensor("empty", "token channel", np.zeros((0, 3)))
        trace.begin_step("decode", 2, 1)
        trace.tensor("small", "token channel", small.T)
back = load_trace(f"{sys.argv[1]}/all")
assert np.array_equal(back["noise"], numbers, equal_nan=True)
assert np.array_equal(back["small", 1], small.T, equal_nan=True)
try:
    with TraceWriter(f"{sys.argv[1]}/failed", producer="test 1") as trace:
        raise RuntimeError("on purpose")
except RuntimeError:
    pass
for bad in (lambda t: t.tensor("a/b", "", 1), lambda t: t.tensor("x", "token", 1.0),
            lambda t: t.begin_step("no", 0, 0),
            lambda t: t.tensor("x", "", 1.0, dtype="F64"), lambda t: t.describe("steps", [])):
    trace = TraceWriter(f"{sys.argv[1]}/failed", producer="test 1")
    trace.begin_step("prefill", 0, 1)
    try:
        bad(trace)
        raise AssertionError("no error")
    except ValueError:
        trace.abandon()
try:
    TraceWriter(f"{sys.argv[1]}/all", producer="test 1")
    raise AssertionError("replaced")
except FileExistsError:
    pass
print("fine")
)";

TEST_CASE("schema: write_trace.py writes what the reader reads and the schema allows")
{
    const TemporaryFolder folder;
    const std::string python = python_with(folder, "numpy");
    if (python.empty()) {
        WARN("not checked: no python3 with numpy (Debian: python3-numpy)");
        return;
    }
    write_python(folder, writes_traces);
    const Outcome outcome =
        run(folder, fmt::format("{} {} {}", python, (folder / "script.py").string(), folder.path.string()));
    INFO(outcome.text);
    REQUIRE(outcome.text == "fine\n");
    for (const std::string& name : names_in(folder.path))
        CHECK(name.find("failed") == std::string::npos);

    const Trace trace(folder / "all");
    const std::vector<float> small = trace.load(*trace.find("small")).values;
    CHECK(small[0] == 1.0f / 3);
    CHECK(std::isnan(small[2]));
    CHECK(small[3] == INFINITY);
    CHECK(trace.find("small")->source == "engine/model.py:12");
    CHECK(trace.find("noise")->dtype == "BF16");
    std::vector<std::int64_t> ids(2);
    ValueStream stream = trace.stream(*trace.find("input_ids"));
    CHECK(stream.read(ids.data(), 2) == 2);
    CHECK(ids[1] == 9007199254740993);
    CHECK(Trace(folder / "sample").find("noise")->sample.count > 90);
    CHECK(Trace(folder / "sample").load_kept(*Trace(folder / "sample").find("noise")).size() ==
          static_cast<std::size_t>(Trace(folder / "sample").find("noise")->sample.count));
    if (const std::string validator = python_with(folder, "jsonschema"); !validator.empty()) {
        const Outcome valid = run(folder, fmt::format("{} tests/trace/validate_trace.py {} {} {}", validator,
                                                      (folder / "all").string(), (folder / "sample").string(),
                                                      (folder / "none").string()));
        INFO(valid.text);
        CHECK_THAT(valid.text, ContainsSubstring("15 passed, 0 failed"));
    } else
        WARN("schema not checked: no python3 with jsonschema (Debian: python3-jsonschema)");
}
