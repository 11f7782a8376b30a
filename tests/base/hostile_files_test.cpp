// Files made to hurt, each as small as it can be: what once crashed, hung or took gigabytes is now refused,
// in words, soon, and in little memory. SECURITY.md says what is promised.
#include <chrono>
#include <functional>
#include <string>

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/image_decode.h"
#include "base/input_file.h"
#include "base/json_file.h"
#include "base/npy.h"
#include "base/safetensors.h"
#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"
#include "tests/run_command.h"
#include "tests/trace/trace_fixture.h"
#include "trace/comparing/policy.h"
#include "trace/converting/convert.h"
#include "viz/graphs/graph.h"
#include "viz/graphs/model_sizes.h"
#include "viz/report/report.h"

using namespace pictor;
using namespace pictor_test;

namespace {

// At most five seconds on the busiest of machines; sanitizers take ten times as long.
#ifdef NDEBUG
constexpr std::chrono::seconds longest{5};
#else
constexpr std::chrono::seconds longest{60};
#endif

// The error, which has to come soon.
std::string soon(const std::function<void()>& action)
{
    const auto start = std::chrono::steady_clock::now();
    const std::string error = error_of(action);
    CHECK(std::chrono::steady_clock::now() - start < longest);
    return error;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

// "[],[],[], ...": a parsed empty list takes twenty times its three bytes.
std::string empty_lists(std::size_t count)
{
    std::string text = "[[]";
    for (std::size_t i = 1; i < count; ++i)
        text += ",[]";
    return text + "]";
}

std::string npy_bytes(const std::string& header)
{
    std::string bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size() & 0xff);
    bytes += static_cast<char>(header.size() >> 8);
    return bytes + header;
}

void put16(std::string& bytes, std::size_t number)
{
    bytes += static_cast<char>(number >> 8);
    bytes += static_cast<char>(number & 0xff);
}

// A progressive JPEG of one grey component: frame, `scans` times a scan of nothing, end mark.
std::string jpeg_of_scans(std::size_t height, std::size_t width, std::size_t scans)
{
    std::string bytes("\xff\xd8\xff\xc2\x00\x0b\x08", 7);
    put16(bytes, height);
    put16(bytes, width);
    bytes += std::string("\x01\x01\x11\x00", 4);
    for (std::size_t i = 0; i < scans; ++i)
        bytes += std::string("\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00", 10);
    return bytes + "\xff\xd9";
}

}  // namespace

TEST_CASE("hostile: a JSON value in an error is short, however deep and long it is")
{
    const TempFolder folder;
    const auto file = folder.path / "config.json";
    for (const std::size_t depth : {std::size_t{65}, std::size_t{100'000}, std::size_t{1'000'000}}) {
        write_file(file, "{\"text_config\": {\"hidden_size\": " + nested(depth) + "}}");
        CHECK_THAT(soon([&] { read_model_sizes(file, "x"); }),
                   ContainsSubstring("nests deeper than 64 levels"));
        write_file(file, "{\"*\": {\"atol\": " + nested(depth) + "}}");
        CHECK_THAT(soon([&] { Policy policy(file); }), ContainsSubstring("nests deeper than 64 levels"));
    }
    write_file(file, "{\"*\": {\"atol\": " + nested(50) + "}}");
    CHECK(soon([&] { Policy policy(file); }).size() < 400);
    write_file(file, "{\"*\": {\"atol\": \"" + std::string(1'000'000, 'x') + "\"}}");
    CHECK(soon([&] { Policy policy(file); }).size() < 400);
    CHECK(brief_json(std::string(1'000'000, '\x01')).size() <= 80);
}

TEST_CASE("hostile: JSON is bounded by how many values it holds, not by its bytes")
{
    const TempFolder folder;
    const auto file = folder.path / "config.json";
    write_file(file, "{\"a\": " + empty_lists(most_json_values) + "}");
    CHECK_THAT(soon([&] { read_json_object(file); }), ContainsSubstring("holds more than 1000000 values"));
    CHECK_THAT(soon([&] { read_model_sizes(file, "x"); }), ContainsSubstring("holds more than"));
    write_file(file, "{\"a\": \"" + std::string(3'000'000, ',') + "\"}");  // commas in a string are no values
    CHECK(read_json_object(file).at("a").get<std::string>().size() == 3'000'000);
    write_file(file, "{\"a\": \"" + std::string("\\\"") + std::string(2'000'000, '[') + "\"}");
    CHECK_NOTHROW(read_json_object(file));
    write_file(file, "{\"model\": " + empty_lists(6'000'001) + "}");
    CHECK_THAT(soon([&] { read_vocabulary(file); }), ContainsSubstring("holds more than 6000000 values"));
}

TEST_CASE("hostile: a trace.json of empty lists")
{
    const TempFolder folder;
    const auto file = folder.path / "trace.json";
    const std::string start = "{\"format\": \"pictor-trace\", \"version\": 1, \"steps\": [], ";
    write_file(file, start + "\"tensors\": " + empty_lists(1'000'000) + "}");
    CHECK_THAT(soon([&] { Trace trace(folder.path); }), ContainsSubstring("want a list of objects"));
    write_file(file, start + "\"tensors\": [{\"name\": " + empty_lists(2'000) + "}]}");
    CHECK_THAT(soon([&] { Trace trace(folder.path); }),
               ContainsSubstring("more than 1000 values in one tensor"));
    write_file(file, start + "\"model\": " + empty_lists(4'000'001) + "}");
    CHECK_THAT(error_of([&] { Trace trace(folder.path); }), ContainsSubstring("values beside its tensors"));
}

TEST_CASE("hostile: an .npy header of spaces, and others")
{
    const TempFolder folder;
    const auto file = folder.path / "x.npy";
    const auto error = [&](const std::string& header, const std::string& numbers = "") {
        write_file(file, npy_bytes(header) + numbers);
        return soon([&] { NpyFile npy(file); });
    };
    const std::string spaces(40'000, ' ');
    CHECK_THAT(error(spaces), ContainsSubstring("want little-endian"));
    CHECK(error("{'descr':" + spaces + "'<f4', 'fortran_order':" + spaces.substr(20'000) +
                    "False, 'shape': (2, ), }",
                "12345678") == "");
    CHECK_THAT(error("{'descr': '>f4'}"), ContainsSubstring("want little-endian"));
    CHECK_THAT(error("{'descr': '<f4', 'fortran_order': False, 'shape': (2"),
               ContainsSubstring("without a shape"));
    CHECK_THAT(error("{'descr': '<f4', 'fortran_order': False, 'shape': (-2)"),
               ContainsSubstring("without a shape"));
    CHECK_THAT(error("{'descr': '\x1b[31m'"), ContainsSubstring("\\x1B[31m"));
}

TEST_CASE("hostile: a safetensors header of 60,000 empty tensors, and of too many")
{
    const TempFolder folder;
    const auto file = folder.path / "x.safetensors";
    const auto header_of = [](std::size_t count) {
        std::string header = "{";
        for (std::size_t i = 0; i < count; ++i)
            header += fmt::format("{}\"{}\":{{\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
                                  i == 0 ? "" : ",", i);
        return header + "}";
    };
    write_file(file, safetensors_bytes(header_of(60'000), ""));
    CHECK(soon([&] { SafetensorsFile opened(file); }) == "");
    write_file(file, safetensors_bytes(header_of(250'001), ""));
    CHECK_THAT(error_of([&] { SafetensorsFile opened(file); }),
               ContainsSubstring("more than 250000 tensors"));
    write_file(file, safetensors_bytes("{\"a\": {\"shape\": " + empty_lists(1'000'000) + "}}", ""));
    CHECK_THAT(soon([&] { SafetensorsFile opened(file); }), ContainsSubstring("shape holds a list"));
}

TEST_CASE("hostile: a JPEG of more Huffman codes than stb_image has room for")
{
    const TempFolder folder;
    std::string table(1, '\x00');
    std::string counts(16, '\x20');
    counts[15] = '\x21';  // 15 * 32 + 33 = 513
    table += counts + std::string(513, '\x01');
    std::string bytes("\xff\xd8\xff\xc4", 4);
    put16(bytes, 2 + table.size());
    bytes += table + jpeg_of_scans(8, 8, 1).substr(2);
    write_file(folder.path / "codes.jpg", bytes);
    CHECK_THAT(soon([&] { decode_image(folder.path / "codes.jpg"); }), ContainsSubstring("has 513 codes"));
}

TEST_CASE("hostile: a JPEG of nine hundred scans")
{
    const TempFolder folder;
    write_file(folder.path / "scans.jpg", jpeg_of_scans(8000, 8000, 900));
    CHECK_THAT(soon([&] { decode_image(folder.path / "scans.jpg"); }),
               ContainsSubstring("a JPEG of 32 scans over 64000000 pixels"));
    write_file(folder.path / "scans.jpg", jpeg_of_scans(8, 8, 900));
    CHECK_THAT(soon([&] { decode_image(folder.path / "scans.jpg"); }),
               ContainsSubstring("a JPEG of 101 scans"));
}

TEST_CASE("hostile: pipes, devices and folders where files are wanted")
{
    const TempFolder folder;
    const auto pipe = folder.path / "pipe";
    REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
    for (const std::filesystem::path& what : {pipe, std::filesystem::path("/dev/zero"), folder.path}) {
        CAPTURE(what.string());
        const std::string wanted = what == pipe          ? "a pipe, not"
                                   : what == folder.path ? "a folder"
                                                         : "a device, not";
        CHECK_THAT(soon([&] { decode_image(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { read_json_object(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { SafetensorsFile file(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { NpyFile file(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { Policy policy(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { read_vocabulary(what); }), ContainsSubstring(wanted));
        CHECK_THAT(soon([&] { read_model_sizes(what, "x"); }), ContainsSubstring(wanted));
        if (what != folder.path)
            CHECK_THAT(soon([&] { convert(what, folder.path / "out", {}); }),
                       ContainsSubstring("a pipe or a device; wanted a regular file or a folder"));
    }
}

TEST_CASE("hostile: a machine that stores numbers the other way round cannot compile it")
{
    const auto compiles = [](const std::string& options) {
        const std::string command = "${CXX:-g++} -std=c++20 -fsyntax-only -x c++ -I. -w " + options +
                                    " base/little_endian.h > /dev/null 2>&1";
        return std::system(command.c_str()) == 0;
    };
    REQUIRE(compiles(""));
    CHECK_FALSE(compiles("-U__BYTE_ORDER__ -D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__"));
    // Whatever reads or writes numbers as they lie includes it.
    for (const char* file : {"base/safetensors.cpp", "base/safetensors_writer.cpp", "base/stored_numbers.h"})
        CHECK_THAT(read_file(file), ContainsSubstring("#include \"base/little_endian.h\""));
    CHECK_THAT(read_file("base/npy.cpp"), ContainsSubstring("#include \"base/stored_numbers.h\""));
}

TEST_CASE("trace diff: a trace of a few tensors beside a whole one is compared soon")
{
    const TempFolder folder;
    const std::string few = (folder.path / "few").string();
    nlohmann::json index = read_json("golden/cases/2x2/meta/trace.json");
    const nlohmann::json all = index.at("tensors");
    index["tensors"].clear();
    for (const nlohmann::json& entry : all)
        for (const char* name : {"language_model.layers.4", "language_model.norm", "lm_head"})
            if (entry.at("name") == name)
                index["tensors"].push_back(entry);
    std::filesystem::create_directories(few);
    write_file(folder.path / "few/trace.json", index.dump());
    std::filesystem::copy("golden/cases/2x2/meta/tensors", folder.path / "few/tensors");
    const std::string whole = "golden/cases/2x2/transformers";
    const CommandResult result = run_command("trace", {"diff", few, whole, "--common"},
                                             {.seconds = static_cast<int>(longest.count())});
    CHECK_FALSE(result.timed_out);
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.out, ContainsSubstring("language_model.layers.4"));
}

TEST_CASE("terminal: what a trace says is spelt out")
{
    const TempFolder folder;
    const std::string trace_folder = (folder.path / "run").string();
    SmallTrace().write(trace_folder);
    std::string index = read_file(folder.path / "run/trace.json");
    const std::string axis = "\"axes\": [\"token\"";
    REQUIRE(index.find(axis) != std::string::npos);
    for (std::size_t at = 0; (at = index.find(axis, at)) != std::string::npos; at += 20)
        index.replace(at, axis.size(), "\"axes\": [\"tok\\u001b[31men\"");
    write_file(folder.path / "run/trace.json", index);
    for (const Arguments& arguments :
         {Arguments{"show", trace_folder, "--all"}, Arguments{"show", trace_folder, "input_ids"},
          Arguments{"diff", trace_folder, trace_folder}}) {
        const CommandResult result = run_command("trace", arguments);
        CHECK(result.out.find('\x1b') == std::string::npos);
        CHECK(result.err.find('\x1b') == std::string::npos);
        if (arguments.size() == 3 && arguments[2] == "--all")
            CHECK_THAT(result.out, ContainsSubstring("\\x1B[31m"));
    }
}

TEST_CASE("link: only to this project's own sources")
{
    const TempFolder folder;
    const auto output = folder.path / "page.svg";
    CHECK_THAT(source_link("reference/model.cpp", output), ContainsSubstring("reference/model.cpp"));
    write_file("reference/evil.html", "<script>");
    std::filesystem::create_symlink("evil.html", "reference/evil.cpp");
    for (const char* name : {"reference/evil.html", "reference/evil.cpp", "README.md", "my-trace/evil.html",
                             "/etc/passwd", "reference/../README.md", "javascript:alert(1)",
                             "reference/model.cpp?x", "viz/report/page/terms.js"}) {
        CAPTURE(name);
        CHECK(source_link(name, output) == "");
    }
    std::filesystem::remove("reference/evil.html");
    std::filesystem::remove("reference/evil.cpp");
    std::filesystem::create_directories("reference/my-trace/tensors");
    write_file("reference/my-trace/trace.json", "{}");
    write_file("reference/my-trace/tensors/evil.cpp", "");
    CHECK(source_link("reference/my-trace/tensors/evil.cpp", output) == "");
    std::filesystem::remove_all("reference/my-trace");
}

TEST_CASE("viz: standard output that cannot be written is an error")
{
    for (const Arguments& arguments : {Arguments{"architecture", "--output", "-"}, Arguments{"--help"}}) {
        const CommandResult result = run_command("viz", arguments, {.output = "/dev/full"});
        CHECK(result.exit_code == 2);
        CHECK_THAT(result.err, ContainsSubstring("viz: standard output: "));
    }
}

TEST_CASE("tokenize --file: an error says which line of which file")
{
    const TempFolder folder;
    write_file(folder.path / "text", "one\ntwo\n\xff\nfour\n");
    const CommandResult result =
        run_command("reference", {"tokenize", "--file", (folder.path / "text").string()});
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, ContainsSubstring("text: line 3: text is not UTF-8"));
    REQUIRE(mkfifo((folder.path / "pipe").c_str(), 0600) == 0);
    CHECK_THAT(run_command("reference", {"tokenize", "--file", (folder.path / "pipe").string()}).err,
               ContainsSubstring("a pipe, not a regular file; wanted a text file, or - for standard input"));
}
