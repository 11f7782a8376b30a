#include "reference/checkpoint/load_tensors.h"

#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

using namespace pictor;
using pictor_test::bytes_of;
using pictor_test::error_of;
using pictor_test::f32;
using pictor_test::RawTensors;
using pictor_test::safetensors_bytes;
using pictor_test::TempFolder;
using pictor_test::write_file;

namespace {

// What opening a file of these bytes complains about.
std::string error_opening(const std::string& bytes)
{
    const TempFolder folder;
    write_file(folder.path / "hostile.safetensors", bytes);
    return error_of([&] { SafetensorsFile file(folder.path / "hostile.safetensors"); });
}

std::string with_length(std::uint64_t length, const std::string& rest)
{
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    return bytes + rest;
}

}  // namespace

TEST_CASE("safetensors: a right file, read back")
{
    const TempFolder folder;
    const auto path = folder.path / "right.safetensors";
    RawTensors tensors;
    tensors["a"] = f32({2, 3}, {1, 2, 3, 4, 5, 6});
    tensors["half"] = {"F16", {4}, bytes_of(std::vector<std::uint16_t>{0x3c00, 0xc000, 0x0001, 0x7bff})};
    tensors["ids"] = {"I64", {3}, bytes_of(std::vector<std::int64_t>{7, -8, 1LL << 40})};
    tensors["brain"] = {"BF16", {2}, bytes_of(std::vector<std::uint16_t>{0x3f80, 0xc0a0})};
    tensors["none"] = {"F32", {0, 5}, ""};
    tensors["one"] = f32({}, {2.5f});
    write_file(path, safetensors_bytes(tensors));

    const SafetensorsFile file(path);
    CHECK(file.names().size() == 6);
    CHECK(file.find("b") == nullptr);
    REQUIRE(file.find("a") != nullptr);
    CHECK(file.find("a")->shape == Shape{2, 3});
    CHECK(load_floats(file, "a", {2, -1}).values == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(load_floats(file, "half", {4}).values == std::vector<float>{1.0f, -2.0f, 0x1p-24f, 65504.0f});
    CHECK(load_floats(file, "brain", {2}).values == std::vector<float>{1.0f, -5.0f});
    CHECK(load_floats(file, "none", {0, 5}).values.empty());
    CHECK(load_floats(file, "one", {}).values == std::vector<float>{2.5f});
    CHECK(load_integers(file, "ids", {-1}) == std::vector<std::int64_t>{7, -8, 1LL << 40});

    const auto message = [&](const std::string& name, const Shape& wanted) {
        return error_of([&] { load_floats(file, name, wanted); });
    };
    CHECK_THAT(message("b", {2}),
               ContainsSubstring("right.safetensors: tensor \"b\" is missing, wanted shape [2]"));
    CHECK_THAT(message("a", {3, 2}), ContainsSubstring("tensor \"a\" has shape [2, 3], wanted [3, 2]"));
    CHECK_THAT(message("a", {6}), ContainsSubstring("has shape [2, 3]"));
    CHECK_THAT(message("ids", {3}), ContainsSubstring("has dtype I64, wanted F32, BF16 or F16"));
    CHECK_THAT(error_of([&] {
                   load_integers(file, "a", {2, 3});
               }),
               ContainsSubstring("has dtype F32, wanted I64"));
}

TEST_CASE("safetensors: tensors at odd addresses")
{
    const TempFolder folder;
    const auto path = folder.path / "odd.safetensors";
    RawTensors tensors;
    tensors["a"] = f32({3}, {1.5f, -2.25f, 1e-30f});
    tensors["b"] = {"BF16", {1}, bytes_of(std::vector<std::uint16_t>{0x4040})};
    tensors["c"] = {"I64", {2}, bytes_of(std::vector<std::int64_t>{-3, 9})};
    write_file(path, safetensors_bytes(tensors, true));
    const SafetensorsFile file(path);
    REQUIRE_FALSE(is_aligned(*file.find("a")));
    CHECK(load_floats(file, "a", {3}).values == std::vector<float>{1.5f, -2.25f, 1e-30f});
    CHECK(load_floats(file, "b", {1}).values == std::vector<float>{3.0f});
    CHECK(load_integers(file, "c", {2}) == std::vector<std::int64_t>{-3, 9});
}

TEST_CASE("safetensors: metadata and foreign dtypes may stand in a file")
{
    const TempFolder folder;
    const auto path = folder.path / "foreign.safetensors";
    write_file(path, safetensors_bytes(R"({"__metadata__": {"format": "pt"},
        "q": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]},
        "p": {"shape": [2], "data_offsets": [3, 4], "dtype": "F4"}})",
                                       "abcd"));
    const SafetensorsFile file(path);
    CHECK(file.names() == std::vector<std::string>{"q", "p"});
    CHECK_THAT(error_of([&] { load_floats(file, "q", {3}); }), ContainsSubstring("has dtype F8_E4M3"));

    write_file(path, safetensors_bytes("{}  ", ""));
    CHECK(SafetensorsFile(path).names().empty());
}

// What files hold, and what the error must say.
using Faults = std::vector<std::pair<std::string, std::string>>;

void check_faults(const Faults& faults)
{
    for (const auto& [bytes, message] : faults) {
        CAPTURE(message);
        const std::string error = error_opening(bytes);
        CHECK_THAT(error, ContainsSubstring("hostile.safetensors: "));
        CHECK_THAT(error, ContainsSubstring(message));
    }
}

TEST_CASE("safetensors: every fault of a file is named")
{
    const std::string a = R"("a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})";
    const std::string eight(8, 'x');
    check_faults({
        // the frame
        {"", "0 bytes, wanted at least 8"},
        {"1234567", "7 bytes, wanted at least 8"},
        {with_length(3, "{}"), "claims 3 bytes, but only 2 follow"},
        {with_length(~std::uint64_t{0}, "{}"), "claims 18446744073709551615 bytes, wanted at most 100000000"},
        {with_length(100'000'001, "{}"), "claims 100000001 bytes"},
        {safetensors_bytes("", ""), "does not begin with '{'"},
        {safetensors_bytes("[]", ""), "does not begin with '{'"},
        {safetensors_bytes("{\"a\": ", ""), "the header is not JSON"},
        {safetensors_bytes("{} {}", ""), "the header is not JSON"},
        {safetensors_bytes("{\"\xff\": 1}", ""), "the header is not JSON"},
        {safetensors_bytes("{\"a\": 1e999}", ""), "the header is not JSON"},
        {safetensors_bytes("{" + a + "}", "1234567"),
         "\"a\": data_offsets [0, 8] leave the file, which holds 7"},
        {safetensors_bytes("{" + a + "}", "123456789"), "1 bytes after the last tensor"},
        {safetensors_bytes("{}", "1"), "1 bytes after the last tensor"},
        // the entries
        {safetensors_bytes(R"({"a": 5})", ""), "tensor \"a\" is 5, wanted an object"},
        {safetensors_bytes(R"({"a": "x"})", ""), "tensor \"a\" is \"x\", wanted an object"},
        {safetensors_bytes(R"({"a": [1]})", ""), "tensor \"a\" is a list, wanted an object"},
        {safetensors_bytes(R"({"a": null})", ""), "tensor \"a\" is null, wanted an object"},
        {safetensors_bytes(R"({"a": {}})", ""), "tensor \"a\": dtype is missing"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "data_offsets": [0, 8]}})", eight),
         "\"a\": shape is missing"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [2]}})", eight),
         "\"a\": data_offsets is missing"},
        {safetensors_bytes(R"({"a": {"dtype": 3}})", ""), "\"a\": dtype holds 3, wanted a string"},
        {safetensors_bytes(R"({"a": {"dtype": ["F32"]}})", ""),
         "\"a\": dtype holds [\"F32\"], wanted a string"},
        {safetensors_bytes(R"({"a": {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}})", eight),
         "dtype \"F33\" is unknown"},
        {safetensors_bytes(R"({"a": {"shape": "2"}})", ""), "\"a\": shape holds \"2\", wanted a list"},
        {safetensors_bytes(R"({"a": {"shape": 2}})", ""), "\"a\": shape holds 2, wanted a list"},
        {safetensors_bytes(R"({"a": {"shape": [[2]]}})", ""),
         "\"a\": shape holds a list, wanted a list of whole numbers"},
        {safetensors_bytes(R"({"a": {"shape": [{}]}})", ""), "\"a\": shape holds an object"},
        {safetensors_bytes(R"({"a": {"shape": ["2"]}})", ""), "\"a\": shape holds \"2\""},
        {safetensors_bytes(R"({"a": {"shape": [-2]}})", ""), "\"a\": shape holds -2"},
        {safetensors_bytes(R"({"a": {"shape": [2.0]}})", ""), "\"a\": shape holds 2.0"},
        {safetensors_bytes(R"({"a": {"shape": [18446744073709551616]}})", ""),
         "\"a\": shape holds 1.8446744073709552e+19"},
        {safetensors_bytes(R"({"a": {"shape": [true]}})", ""), "\"a\": shape holds true"},
        {safetensors_bytes(R"({"a": {"shape": [null]}})", ""), "\"a\": shape holds null"},
        {safetensors_bytes(R"({"a": {"device": 1}})", ""), "\"a\": field \"device\" is unknown"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "dtype": "F16"}})", ""), "\"a\": dtype appears twice"},
        {safetensors_bytes("{" + a + ", " + a + "}", eight), "tensor \"a\" appears twice in the header"},
    });
}

TEST_CASE("safetensors: every fault of sizes and metadata is named")
{
    const std::string a = R"("a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})";
    const std::string eight(8, 'x');
    check_faults({
        {safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})", eight),
         "span 8 bytes, wanted 12 for F32 [3]"},
        {safetensors_bytes(R"({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}})", "x"),
         "span 1 bytes, wanted 2 for F4 [3]"},
        {safetensors_bytes(
             R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", ""),
         "shape [4294967296, 4294967296] is absurd"},
        {safetensors_bytes(
             R"({"a": {"dtype": "F32", "shape": [0, 18446744073709551615], "data_offsets": [0, 0]}})", ""),
         "is absurd"},
        {safetensors_bytes(
             R"({"a": {"dtype": "F32", "shape": )"
             R"([1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1], "data_offsets": [0, )"
             R"(4]}})",
             "1234"),
         "shape has more than 32 numbers"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8, 8]}})", eight),
         "data_offsets has 3 numbers, wanted 2"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}})", eight),
         "data_offsets [8, 0] leave the file"},
        {safetensors_bytes(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [18446744073709551608, )"
                           R"(18446744073709551615]}})",
                           eight),
         "leave the file"},
        {safetensors_bytes("{" + a + R"(, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}})",
                           std::string(12, 'x')),
         "tensors \"a\" and \"b\" overlap at byte 4"},
        {safetensors_bytes("{" + a + R"(, "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",
                           eight),
         "overlap at byte 0"},
        {safetensors_bytes("{" + a + R"(, "b": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}})",
                           std::string(16, 'x')),
         "a hole of 4 bytes before tensor \"b\""},
        {safetensors_bytes(R"({"__metadata__": {"a": 1}})", ""), "__metadata__ holds 1"},
        {safetensors_bytes(R"({"__metadata__": ["a"]})", ""), "__metadata__ holds a list"},
        {safetensors_bytes(R"({"__metadata__": {"a": {"b": "c"}}})", ""), "__metadata__ holds an object"},
        {safetensors_bytes(R"({"__metadata__": {"a": "1", "a": "2"}})", ""),
         "__metadata__: \"a\" appears twice"},
    });
}

TEST_CASE("safetensors: no byte of a header can be changed or cut into a crash")
{
    RawTensors tensors;
    tensors["a"] = f32({2, 1}, {1, 2});
    tensors["b"] = {"I64", {1}, bytes_of(std::vector<std::int64_t>{3})};
    const std::string right = safetensors_bytes(tensors);
    REQUIRE(error_opening(right).empty());

    const TempFolder folder;
    const auto path = folder.path / "changed.safetensors";
    int refused = 0;
    for (std::size_t length = 0; length < right.size(); ++length) {
        write_file(path, right.substr(0, length));
        CAPTURE(length);
        CHECK_FALSE(error_of([&] { SafetensorsFile file(path); }).empty());  // a file cut anywhere is refused
    }
    for (std::size_t position = 0; position < right.size() - 16; ++position)
        for (const char byte : {'\0', '9', '"', '\x7f', '\xff'}) {
            std::string changed = right;
            changed[position] = byte;
            write_file(path, changed);
            refused += !error_of([&] { SafetensorsFile file(path); }).empty();
        }
    CHECK(refused > 500);
}

TEST_CASE("safetensors: a header nested a million deep neither crashes nor hangs")
{
    CHECK_THAT(error_opening(safetensors_bytes("{\"a\":" + std::string(1'000'000, '['), "")),
               ContainsSubstring("a list"));
    CHECK_THAT(error_opening(safetensors_bytes("{\"a\":" + std::string(1'000'000, '{'), "")),
               ContainsSubstring("JSON"));
}

TEST_CASE("safetensors: paths that are no files")
{
    const TempFolder folder;
    const auto open = [](const std::filesystem::path& path) {
        return error_of([&] { SafetensorsFile file(path); });
    };
    CHECK_THAT(open(folder.path / "nothing"), ContainsSubstring("nothing: no such file"));
    CHECK_THAT(open(folder.path), ContainsSubstring("a folder; wanted"));
    const auto pipe = folder.path / "pipe";
    REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
    CHECK_THAT(open(pipe),
               ContainsSubstring("pipe: a pipe, not a regular file"));  // and does not wait for a writer
}

TEST_CASE("safetensors: shards, and every fault of their index")
{
    const TempFolder folder;
    const auto index = folder.path / "model.safetensors.index.json";
    write_file(folder.path / "one.safetensors",
               safetensors_bytes(RawTensors{{"a", f32({1}, {1})}, {"b", f32({1}, {2})}}));
    write_file(folder.path / "two.safetensors", safetensors_bytes(RawTensors{{"c", f32({1}, {3})}}));
    write_file(folder.path / "twice.safetensors",
               safetensors_bytes(RawTensors{{"d", f32({1}, {1})}, {"a", f32({1}, {4})}}));
    write_file(folder.path / "broken.safetensors", "123");

    CHECK_THAT(error_of([&] { open_checkpoint(folder.path); }),
               ContainsSubstring("neither model.safetensors nor model.safetensors.index.json is there"));
    write_file(index, R"({"metadata": {"total_size": 12}, "weight_map": {"a": "one.safetensors", "b": )"
                      R"("one.safetensors", "c": "two.safetensors"}})");
    const auto files = open_checkpoint(folder.path);
    REQUIRE(files.size() == 2);
    CHECK(files[0]->names() == std::vector<std::string>{"a", "b"});
    CHECK(files[1]->names() == std::vector<std::string>{"c"});

    const std::vector<std::pair<std::string, std::string>> faults{
        {"nonsense", "is not JSON"},
        {"{}", "weight_map is missing"},
        {R"({"weight_map": {}})", "weight_map is empty, wanted an object: tensor name to file name"},
        {R"({"weight_map": ["a"]})", "weight_map is [\"a\"]"},
        {R"({"weight_map": {"a": 1}})", "tensor \"a\": the shard is 1"},
        {R"({"weight_map": {"a": ""}})", "tensor \"a\": the shard is \"\""},
        {R"({"weight_map": {"a": "."}})", "the shard is \".\""},
        {R"({"weight_map": {"a": ".."}})", "the shard is \"..\""},
        {R"({"weight_map": {"a": "../one.safetensors"}})",
         "the shard is \"../one.safetensors\", wanted the name of a file in the same folder"},
        {R"({"weight_map": {"a": "/etc/passwd"}})", "the shard is \"/etc/passwd\""},
        {R"({"weight_map": {"a": "sub/one.safetensors"}})", "the shard is \"sub/one.safetensors\""},
        {R"({"weight_map": {"a": "..\\one.safetensors"}})", "the shard is"},
        {R"({"weight_map": {"a": "one.safetensors\u0000"}})", "the shard is"},
        {R"({"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}})", "\"a\" appears twice"},
        {R"({"weight_map": {"a": "one.safetensors", "x": "three.safetensors"}})",
         "shard \"three.safetensors\" is missing from the folder (1 tensors"},
        {R"({"weight_map": {"a": "two.safetensors"}})",
         "tensor \"a\" should be in shard \"two.safetensors\", which lacks it"},
        {R"({"weight_map": {"a": "one.safetensors", "d": "twice.safetensors"}})",
         "tensor \"a\" stands in shards \"one.safetensors\" and \"twice.safetensors\""},
        {R"({"weight_map": {"a": "broken.safetensors"}})", "broken.safetensors: 3 bytes"},
    };
    for (const auto& [bytes, message] : faults) {
        CAPTURE(bytes);
        write_file(index, bytes);
        CHECK_THAT(error_of([&] { open_checkpoint(folder.path); }), ContainsSubstring(message));
    }
}
