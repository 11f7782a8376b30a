#include "tests/catch.h"

#include <cmath>
#include <cstring>

#include "base/npy.h"
#include "base/small_floats.h"
#include "tests/trace/trace_fixture.h"
#include "trace/comparing/compare.h"
#include "trace/converting/convert.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

// A .safetensors file from its header's text and its data.
std::string safetensors(const std::string& header, const std::string& data)
{
    const std::uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + data;
}

bool same_traces(const fs::path& a, const fs::path& b)
{
    CompareOptions exact;
    exact.policy = Policy(Tolerance{0, 0});
    return compare_traces(Trace(a), Trace(b), exact).same;
}

std::vector<float> loaded(const fs::path& folder, const std::string& name)
{
    const Trace trace(folder);
    const TraceEntry* entry = trace.find(name);
    REQUIRE(entry != nullptr);
    return trace.load(*entry).values;
}

}  // namespace

TEST_CASE("convert: trace to .safetensors and back keeps every bit and the axes' words")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    CHECK(convert(folder / "run", folder / "run.safetensors", {}).empty());
    CHECK(convert(folder / "run.safetensors", folder / "back", {}).empty());
    CHECK(same_traces(folder / "run", folder / "back"));
    const Trace back(folder / "back");
    CHECK(back.header()["producer"] == "trace convert");
    CHECK(back.find("language_model.embed_tokens")->axes == std::vector<std::string>{"token", "channel"});
    CHECK(back.find("input_ids")->dtype == "I64");
    CHECK(back.steps().size() == 2);
}

TEST_CASE("convert: trace to a folder of .npy and back")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    convert(folder / "run", folder / "arrays", {});
    CHECK(fs::exists(folder / "arrays/001-language_model.embed_tokens.npy"));
    CHECK(NpyFile(folder / "arrays/000-input_ids.npy").dtype() == "I64");
    convert(folder / "arrays", folder / "back", {});
    CHECK(same_traces(folder / "run", folder / "back"));
    ConvertOptions one;
    one.only = {"input_ids"};
    convert(folder / "run", folder / "one", one);
    CHECK(names_in(folder / "one") == std::vector<std::string>{"input_ids.npy"});
}

TEST_CASE("convert: what a sample lacks is said, or taken from .npy")
{
    const TemporaryFolder folder;
    TraceOptions options;
    options.values = TraceValues::sample;
    options.sample_above = 4;
    SmallTrace().write(folder / "sample", options);
    const std::vector<std::string> notes = convert(folder / "sample", folder / "out.safetensors", {});
    REQUIRE(notes.size() == 1);
    CHECK_THAT(notes[0], ContainsSubstring("left out 2 tensors"));
    options.npy = true;
    SmallTrace().write(folder / "whole", options);
    CHECK(convert(folder / "whole", folder / "whole.safetensors", {}).empty());
    options.npy = false;
    options.values = TraceValues::none;
    SmallTrace().write(folder / "none", options);
    CHECK_THROWS_WITH(convert(folder / "none", folder / "none.safetensors", {}),
                      ContainsSubstring("no tensor to convert"));
}

TEST_CASE("convert: an existing output of another kind is refused unless force")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    CHECK_NOTHROW(convert(folder / "run", folder / "x.safetensors", {}));
    CHECK_NOTHROW(convert(folder / "run", folder / "x.safetensors", {}));  // the same kind: replaced
    write_text(folder / "x.safetensors", "notes");
    CHECK_THROWS_WITH(convert(folder / "run", folder / "x.safetensors", {}),
                      ContainsSubstring("exists and is no safetensors file"));
    ConvertOptions force;
    force.force = true;
    CHECK_NOTHROW(convert(folder / "run", folder / "x.safetensors", force));
    convert(folder / "x.safetensors", folder / "back", {});
    CHECK_THROWS_WITH(convert(folder / "x.safetensors", folder / "back", {}),
                      ContainsSubstring("exists already"));
    CHECK_NOTHROW(convert(folder / "x.safetensors", folder / "back", force));
    fs::create_directory(folder / "photos");
    write_text(folder / "photos/cat", "x");
    CHECK_THROWS(convert(folder / "run", folder / "photos", force));
    CHECK(read_text(folder / "photos/cat") == "x");
    CHECK(names_in(folder.path).size() == 4);  // no partial output is left
}

TEST_CASE("convert: every dtype of .safetensors")
{
    const TemporaryFolder folder;
    const std::string data("\x00\x3c\x00\x80\x00\x7c\x01\x00"  // F16: 1, -0, infinity, 2^-24
                           "\x80\x3f\x00\xc0"                  // BF16: 1, -2
                           "\xff\xff\xff\xff\x07"              // I32: -1; U8: 7
                           "\x00\x00\x00\x00\x00\x00\xf8\x3f",
                           25);  // F64: 1.5
    write_text(folder / "x.safetensors",
               safetensors(R"({"half": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
        "brain": {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]}, "int": {"dtype": "I32",
          "shape": [], "data_offsets": [12, 16]},
        "byte": {"dtype": "U8", "shape": [1], "data_offsets": [16, 17]}, "double": {"dtype": "F64",
          "shape": [1, 1, 1], "data_offsets": [17, 25]},
        "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [25, 25]}})",
                           data));
    ConvertOptions options;
    convert(folder / "x.safetensors", folder / "run", options);
    const Trace trace(folder / "run");
    CHECK(trace.entries()[0].name == "half");  // the file's order
    CHECK(trace.entries()[0].dtype == "F16");
    CHECK(loaded(folder / "run", "half") == std::vector<float>{1, -0.0f, INFINITY, 0x1p-24f});
    CHECK(trace.find("brain")->dtype == "BF16");
    CHECK(loaded(folder / "run", "brain") == std::vector<float>{1, -2});
    CHECK(loaded(folder / "run", "int") == std::vector<float>{-1});
    CHECK(loaded(folder / "run", "byte") == std::vector<float>{7});
    CHECK(loaded(folder / "run", "double") == std::vector<float>{1.5f});
    CHECK(trace.find("double")->axes == std::vector<std::string>{"axis0", "axis1", "axis2"});
    options.squeeze = true;
    convert(folder / "x.safetensors", folder / "squeezed", options);
    CHECK(Trace(folder / "squeezed").find("double")->shape.empty());
    CHECK(Trace(folder / "squeezed").find("half")->shape == std::vector<std::int64_t>{2, 2});
}

TEST_CASE("convert: 16-bit floats")
{
    CHECK(float_from_f16(0x7bff) == 65504);
    CHECK(float_from_f16(0x8001) == -0x1p-24f);
    CHECK(float_from_f16(0x03ff) == 1023 * 0x1p-24f);
    CHECK(float_from_f16(0x0400) == 0x1p-14f);
    CHECK(std::isnan(float_from_f16(0x7e00)));
    CHECK(float_from_f16(0xfc00) == -INFINITY);
    CHECK(float_from_bf16(0xff80) == -INFINITY);
}

TEST_CASE("convert: broken .safetensors files")
{
    const TemporaryFolder folder;
    const auto check = [&](const std::string& bytes, const char* message) {
        write_text(folder / "x.safetensors", bytes);
        INFO(bytes.substr(0, 200));
        CHECK_THROWS_WITH(convert(folder / "x.safetensors", folder / "out", {}), ContainsSubstring(message));
        CHECK_FALSE(fs::exists(folder / "out"));
    };
    const auto header = [&](const std::string& tensor) {
        return safetensors("{\"x\": " + tensor + "}", std::string(8, '\0'));
    };
    check("", "cut short");
    check("\xff\xff\xff\xff\xff\xff\xff\x7f{}", "the header claims");
    check(safetensors("{", ""), "not JSON");
    check(safetensors("[]", ""), "does not begin with '{'");
    check(safetensors("{}", ""), "no tensor");
    check(safetensors("{\"x\": " + std::string(100000, '['), ""), "is a list");
    check(header("7"), "wanted an object");
    check(header(R"({"dtype": "F32", "shape": [2], "data_offsets": [0, 12]})"), "leave the file");
    check(header(R"({"dtype": "F32", "shape": [3], "data_offsets": [0, 12]})"), "leave the file");
    check(header(R"({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]})"), "leave the file");
    check(header(R"({"dtype": "F32", "shape": [2], "data_offsets": [0]})"), "has 1 numbers");
    check(header(R"({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]})"), "shape holds -2");
    check(header(R"({"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 8]})"),
          "is absurd");
    check(header(R"({"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]})"), "F8_E4M3");
    check(header(R"({"dtype": "F32", "shape": [18446744073709551615], "data_offsets": [0, 8]})"),
          "is absurd");
    check(safetensors(R"({"../x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",
                      std::string(8, '\0')),
          "tensor name");
    check(
        safetensors(R"({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "y": {"dtype": "I32", )"
                    R"("shape": [1], "data_offsets": [2, 6]}})",
                    std::string(8, '\0')),
        "overlap");
    check(safetensors(R"({"999999999-x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",
                      std::string(8, '\0')),
          "step 999999999");
}

TEST_CASE("convert: inputs that are nothing known")
{
    const TemporaryFolder folder;
    CHECK_THROWS_WITH(convert(folder / "none", folder / "out", {}), ContainsSubstring("no such file"));
    write_text(folder / "x.bin", "x");
    CHECK_THROWS_WITH(convert(folder / "x.bin", folder / "out", {}),
                      ContainsSubstring("want a .safetensors"));
    CHECK_THROWS_WITH(convert(folder.path, folder / "out", {}), ContainsSubstring("no .npy files"));
    write_text(folder / "x.npy", "x");
    CHECK_THROWS_WITH(convert(folder.path, folder / "out", {}), ContainsSubstring("no .npy file"));
}

TEST_CASE("convert: the debugger tree of transformers")
{
    const TemporaryFolder folder;
    write_text(folder / "tree.json", R"JSON({"module_path": "Mllama", "inputs": {"args": []}, "children": [
        {"module_path": "Mllama.model.language_model.layers.0", "inputs": null, "outputs": null, "children": [
            {"module_path": "Mllama.model.language_model.layers.0.q_proj",
             "inputs": {"args": [{"shape": "torch.Size([1])", "dtype": "torch.float32", "value": [
               "tensor([9.])"]}]},
             "outputs": {"shape": "torch.Size([1, 2, 3])", "dtype": "torch.float32",
                "value": ["tensor([[[ 1.0000e+00, -2.5000e-01,  nan],",
                  "         [ 3., -inf, 5.0000e+00]]], device='cuda:0')"],
                "mean": "tensor(1.)", "std": "tensor(1.)", "min": "tensor(1.)", "max": "tensor(1.)"}},
            {"module_path": "Mllama.model.language_model.layers.0.rotary",
             "outputs": [{"shape": "torch.Size([2])", "dtype": "torch.bfloat16", "value": [
               "tensor([1., 2.], dtype=torch.bfloat16)"]},
                         {"shape": [2], "dtype": "torch.int64", "data": [3, 4]}, "None"]},
            {"module_path": "Mllama.model.language_model.layers.0.act",
              "outputs": {"shape": "torch.Size([2])", "dtype": "torch.bool", "value": [
              "tensor([ True, False])"]}},
            {"module_path": "Mllama.model.language_model.layers.0.act",
              "outputs": {"shape": "torch.Size([])", "dtype": "torch.float32", "value": ["tensor(7.)"]}}]},
        {"module_path": "Mllama.lm_head", "outputs": {"shape": "torch.Size([1, 2000])",
          "dtype": "torch.float32",
            "value": ["tensor([[1., 2.,  ..., 3., 4.]])"], "mean": "tensor(2.5000e+00)",
              "std": "tensor(1.0000e+00)", "min": "tensor(1.)", "max": "tensor(4.)"}},
        {"module_path": "Mllama.norm", "outputs": {"shape": "torch.Size([2, 1])", "dtype": "torch.float32",
          "value": "./norm.safetensors"}}]})JSON");
    write_text(folder / "norm.safetensors",
               safetensors(R"JSON({"data": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}})JSON",
                           std::string("\0\0\x80\x3f\0\0\0\x40", 8)));
    const std::vector<std::string> notes = convert(folder / "tree.json", folder / "run", {});
    CHECK(notes.size() == 2);
    const Trace trace(folder / "run");
    std::vector<std::string> names;
    for (const TraceEntry& entry : trace.entries())
        names.push_back(entry.name);
    CHECK(names == std::vector<std::string>{"language_model.layers.0.q_proj",
                                            "language_model.layers.0.rotary.0",
                                            "language_model.layers.0.rotary.1", "language_model.layers.0.act",
                                            "language_model.layers.0.act.call2", "lm_head", "norm"});
    CHECK(trace.find("language_model.layers.0.q_proj")->shape == std::vector<std::int64_t>{1, 2, 3});
    const std::vector<float> values = loaded(folder / "run", "language_model.layers.0.q_proj");
    CHECK(values[1] == -0.25f);
    CHECK(std::isnan(values[2]));
    CHECK(values[4] == -INFINITY);
    CHECK(trace.find("language_model.layers.0.rotary.0")->dtype == "BF16");
    CHECK(loaded(folder / "run", "language_model.layers.0.rotary.1") == std::vector<float>{3, 4});
    CHECK(loaded(folder / "run", "language_model.layers.0.act") == std::vector<float>{1, 0});
    CHECK(loaded(folder / "run", "norm") == std::vector<float>{1, 2});
    CHECK(trace.find("lm_head")->values == TraceValues::none);
    CHECK(trace.find("lm_head")->statistics.mean == 2.5);
    CHECK(trace.find("lm_head")->statistics.std == Approx(std::sqrt(1999.0 / 2000)));
    CHECK_THROWS_WITH(convert(folder / "tree.json", folder / "out.safetensors", {}),
                      ContainsSubstring("only its statistics"));
}

TEST_CASE("convert: broken debugger trees")
{
    const TemporaryFolder folder;
    const auto check = [&](const std::string& text, const char* message) {
        write_text(folder / "tree.json", text);
        INFO(text.substr(0, 200));
        CHECK_THROWS_WITH(convert(folder / "tree.json", folder / "out", {}), ContainsSubstring(message));
        CHECK_FALSE(fs::exists(folder / "out"));
    };
    const auto output = [](const std::string& tensor) {
        return "{\"module_path\": \"M.x\", \"outputs\": " + tensor + "}";
    };
    check("", "is not JSON");
    check("{}", "module_path");
    check("[{\"module_path\": 3}]", "module_path");
    check("{\"module_path\": 3}", "module_path");
    check("{\"module_path\": \"M\", \"children\": [3]}", "module_path");
    check("{\"module_path\": \"M\"}", "no tensor");
    check("{\"module_path\": " + std::string(100000, '['), "nests deeper than 64 levels");
    check(output(R"JSON({"shape": "torch.Size([3])", "dtype": "torch.float32", "value": ["tensor([1., )JSON"
                 R"JSON(2.])"]})JSON"),
          "2 numbers for shape [3]");
    check(output(R"JSON({"shape": "torch.Size([99999999999999999999])", "dtype": "torch.float32"})JSON"),
          "\"shape\"");
    check(output(R"JSON({"shape": "torch.Size([4294967296, 4294967296])", "dtype": "torch.float32"})JSON"),
          "2^40");
    check(
        output(
            R"JSON({"shape": "torch.Size([1])", "dtype": "torch.float32", "value": "../x.safetensors"})JSON"),
        "not beside");
    check(output(
              R"JSON({"shape": "torch.Size([1])", "dtype": "torch.float32", "value": "/x.safetensors"})JSON"),
          "not beside");
    check(
        output(R"JSON({"shape": "torch.Size([1])", "dtype": "torch.float32", "value": "x.safetensors"})JSON"),
        "is missing");
    check(
        output(R"JSON({"shape": "torch.Size([1])", "dtype": "torch.int64", "value": ["tensor([1.5])"]})JSON"),
        "no whole number");
    check(
        "{\"module_path\": \"M.a/b\", \"outputs\": {\"shape\": [0], \"dtype\": \"torch.float32\", \"data\": "
        "[]}}",
        "tensor name");
    std::string deep;
    for (int i = 0; i < 150; ++i)
        deep += "{\"module_path\": \"M\", \"children\": [";
    check(
        deep + std::string(150, ' ') +
            [] {
                std::string end;
                for (int i = 0; i < 150; ++i)
                    end += "]}";
                return end;
            }(),
        "deep");
}

TEST_CASE("convert: the header of .safetensors ends at a multiple of 8")
{
    const TemporaryFolder folder;
    SmallTrace().write(folder / "run");
    int number = 0;
    for (const char* only : {"*", "input_ids", "*embed_tokens", "*probs"}) {  // headers of several lengths
        ConvertOptions options;
        options.only = {only};
        const fs::path file = folder / fmt::format("{}.safetensors", ++number);
        convert(folder / "run", file, options);
        const std::string bytes = read_text(file);
        std::uint64_t length = 0;
        std::memcpy(&length, bytes.data(), 8);
        INFO(only);
        CHECK(length % 8 == 0);
    }
}
