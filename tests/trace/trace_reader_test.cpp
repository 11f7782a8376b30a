#include "tests/catch.h"

#include "base/npy.h"
#include "tests/trace/trace_fixture.h"
#include "trace/reading/reader.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

const char* const hidden_file = "run/tensors/000-language_model.embed_tokens.json";

// Reads everything there is to read.
void read_all(const fs::path& folder)
{
    const Trace trace(folder);
    for (const TraceEntry& entry : trace.entries())
        if (entry.values != TraceValues::none)
            trace.load_kept(entry);
}

struct BrokenTrace {
    TemporaryFolder folder;
    fs::path run = folder / "run", index = run / "trace.json", hidden = folder / hidden_file;
    BrokenTrace() { SmallTrace().write(run); }
};

}  // namespace

TEST_CASE("trace reader: entries, steps, values")
{
    const TemporaryFolder folder;
    const SmallTrace small;
    small.write(folder / "run");
    const Trace trace(folder / "run");
    CHECK(trace.header()["prompt"]["text"] == "a cat");
    CHECK_FALSE(trace.header().contains("tensors"));
    REQUIRE(trace.steps().size() == 2);
    CHECK(trace.steps()[1].kind == "decode");
    CHECK(trace.steps()[1].first_token == 3);
    CHECK(trace.find("language_model.embed_tokens", 2) == nullptr);
    CHECK(trace.find("nothing") == nullptr);
    const TraceEntry& entry = *trace.find("language_model.embed_tokens");
    CHECK(entry.axes == std::vector<std::string>{"token", "channel"});
    CHECK(entry.size() == 12);
    CHECK(entry.kept() == 12);
    CHECK(entry.whole());
    CHECK(trace.load(entry).shape == std::vector<std::int64_t>{3, 4});
    CHECK(trace.load(entry).values == small.hidden);
    CHECK(trace.load_range(entry, 4, 3) == std::vector<float>{5, 6.25f, 7});
    CHECK(trace.load_range(entry, 12, 0).empty());
    CHECK_THROWS(trace.load_range(entry, 10, 3));
    CHECK_THROWS(trace.load_range(entry, -1, 3));
    CHECK(trace.load(*trace.find("input_ids")).values == std::vector<float>{5, 90, 128256});
    std::vector<std::int64_t> ids(3);
    ValueStream stream = trace.stream(*trace.find("input_ids"));
    CHECK(stream.read(ids.data(), 2) == 2);
    CHECK(stream.read(ids.data() + 2, 1) == 1);
    CHECK(ids == small.ids);
    CHECK(stream.read(ids.data(), 3) == 0);
    CHECK(unravel(17, {2, 3, 5}) == std::vector<std::int64_t>{1, 0, 2});
}

TEST_CASE("trace reader: any white space and any order of members")
{
    BrokenTrace broken;
    write_text(broken.hidden, "\n{ \"dtype\" :\"F32\",\t\"values\": [ 0.1 ,-2.5, 3.0,4e0,\n\n 5,6.25,7,8 ,9" +
                                  std::string(1000000, ' ') +
                                  ",10,11,-1.2E1 ] , \"axes\":[\"token\",\"channel\"],\"shape\":[3,4],"
                                  "\"name\":\"language_model.embed_tokens\",\"step\":0 } \n");
    const Trace trace(broken.run);
    CHECK(trace.load(*trace.find("language_model.embed_tokens")).values == SmallTrace().hidden);
}

TEST_CASE("trace reader: numbers that fall on the edge of the buffer")
{
    const TemporaryFolder folder;
    std::vector<float> values(100000);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(i) * -1.2345678e-7f;
    TraceOptions options;
    options.folder = folder / "run";
    options.values = TraceValues::all;
    TraceWriter writer(options);
    writer.begin_step("prefill", 0, 1);
    writer.recorder()("x", "token channel", {values.data(), {1000, 100}});
    writer.finish();
    const Trace trace(folder / "run");
    CHECK(trace.load(trace.entries()[0]).values == values);
    ValueStream stream = trace.stream(trace.entries()[0]);
    std::vector<float> read(values.size());
    for (std::size_t at = 0, count = 1; at < read.size(); at += count)
        count = static_cast<std::size_t>(stream.read(
            read.data() + at, std::min<std::int64_t>(777, static_cast<std::int64_t>(read.size() - at))));
    CHECK(read == values);
}

TEST_CASE("trace reader: no folder, no trace")
{
    const TemporaryFolder folder;
    CHECK_THROWS_WITH(Trace(folder / "none"), ContainsSubstring("no such folder"));
    CHECK_THROWS_WITH(Trace(folder.path), ContainsSubstring("no trace.json"));
    write_text(folder / "file", "");
    CHECK_THROWS(Trace(folder / "file"));
}

TEST_CASE("trace reader: broken trace.json")
{
    struct Case {
        const char *from, *to, *message;
    };
    const Case cases[] = {
        {"\"pictor-trace\"", "\"other\"", "pictor-trace"},
        {"\"version\": 1", "\"version\": 2", "only version"},
        {"\"version\": 1", "\"version\": 1.0", "whole number"},
        {"\"shape\": [3, 4]", "\"shape\": [3, -4]", "whole number"},
        {"\"shape\": [3, 4]", "\"shape\": [3, 18446744073709551615]", "whole number"},
        {"\"shape\": [3, 4]", "\"shape\": [1099511627776, 1099511627776]", "2^40"},
        {"\"shape\": [3, 4]", "\"shape\": [1000000000, 1000]", "too few for the shape"},
        {"\"shape\": [3, 4]", "\"shape\": [12]", "same length"},
        {"\"shape\": [3, 4]", "\"shape\": [3.5, 4]", "whole number"},
        {"\"dtype\": \"F32\"", "\"dtype\": \"F8\"", "\"dtype\""},
        {"\"values\": \"all\"", "\"values\": \"most\"", "\"values\""},
        {"\"values\": \"all\"", "\"values\": \"sample\"", "\"sample\""},
        {"\"values\": \"all\"",
         "\"values\": \"sample\", \"sample\": {\"start\": 0, \"stride\": 0, \"count\": 3}", "\"stride\""},
        {"\"values\": \"all\"",
         "\"values\": \"sample\", \"sample\": {\"start\": 0, \"stride\": 2, \"count\": 3}", "\"count\""},
        {"\"index\": 1", "\"index\": 7", "\"index\""},
        {"\"kind\": \"decode\"", "\"kind\": \"warmup\"", "\"kind\""},
        {"\"step\": 1", "\"step\": 2", "\"step\""},
        {"\"step\": 1", "\"step\": 0", "listed twice"},
        {"\"name\": \"language_model.embed_tokens\"", "\"name\": \"../x\"", "tensor name"},
        {"\"name\": \"language_model.embed_tokens\"", "\"name\": 5", "a string"},
        {"\"tensors\": [", "\"tensors\": [7, ", "list of objects"},
        {"\"statistics\": {", "\"statistics\": {\"max\": \"x\", ", ""},
        {"\"nonfinite\": 0", "\"nonfinite\": -1", "whole number"},
        {"\"steps\": [", "\"steps\": 3, \"x\": [", "a list"},
        {"\n]\n}", "\n]\n", "not valid JSON"},
    };
    for (const Case& each : cases) {
        BrokenTrace broken;
        replace_text(broken.index, each.from, each.to);
        INFO(each.from << " -> " << each.to);
        if (std::string(each.message).empty())  // the last of two members of one name counts
            CHECK_NOTHROW(read_all(broken.run));
        else
            CHECK_THROWS_WITH(read_all(broken.run), ContainsSubstring(each.message));
    }
}

TEST_CASE("trace reader: trace.json cut off anywhere is an error")
{
    BrokenTrace broken;
    const std::string text = read_text(broken.index);
    for (std::size_t length = 0; length + 2 < text.size(); length += 13) {
        write_text(broken.index, text.substr(0, length));
        INFO("cut after " << length << " bytes");
        CHECK_THROWS_AS(Trace(broken.run), std::runtime_error);
    }
}

TEST_CASE("trace reader: nesting without end")
{
    BrokenTrace broken;
    write_text(broken.index, "{\"model\": " + std::string(1000000, '['));
    CHECK_THROWS_WITH(Trace(broken.run), ContainsSubstring("deep"));
    SmallTrace().write(broken.folder / "other");
    const fs::path tensor = broken.folder / "other/tensors/000-input_ids.json";
    write_text(tensor, "{\"name\": " + std::string(1000000, '['));
    CHECK_THROWS_WITH(read_all(broken.folder / "other"), ContainsSubstring("too deep"));
    write_text(tensor, "{\"name\": \"" + std::string(3000000, 'x'));
    CHECK_THROWS_WITH(read_all(broken.folder / "other"), ContainsSubstring("too long"));
    write_text(tensor, std::string(3000000, ' '));
    CHECK_THROWS_WITH(read_all(broken.folder / "other"), ContainsSubstring("the file ends"));
}

TEST_CASE("TRAP climbing_file_name: a trace cannot name a file outside its folder", "[trap]")
{
    for (const char* name : {"../secret.json", "/etc/passwd", "tensors/../../secret.json", "", "a\\\\b"}) {
        BrokenTrace broken;
        write_text(broken.folder / "secret.json", read_text(broken.hidden));
        replace_text(broken.index, "tensors/000-language_model.embed_tokens.json", name);
        INFO(name);
        CHECK_THROWS_WITH(Trace(broken.run), ContainsSubstring("inside the trace folder"));
    }
}

TEST_CASE("trace reader: missing and short files")
{
    BrokenTrace broken;
    fs::remove(broken.hidden);
    CHECK_THROWS_WITH(Trace(broken.run), ContainsSubstring("is missing"));
    fs::create_directory(broken.hidden);
    CHECK_THROWS_WITH(Trace(broken.run), ContainsSubstring("is missing"));
    fs::remove(broken.hidden);
    write_text(broken.hidden, "{}");
    CHECK_THROWS_WITH(Trace(broken.run), ContainsSubstring("too few for the shape"));
}

TEST_CASE("trace reader: broken tensor files")
{
    struct Case {
        const char *from, *to, *message;
    };
    const Case cases[] = {
        {"9,10,11,-12", "9,10,11", "11 values"},
        {"9,10,11,-12", "9,10,11,-12,13", "more values"},
        {"9,10,11,-12", "9,10,11,-12,", "more values"},
        {"9,10,11,-12", "9,10,,-12", "no number"},
        {"9,10,11,-12", "9,10 11,-12", "','"},
        {"9,10,11,-12", "9,10,true,-12", "no number"},
        {"9,10,11,-12", "9,10,NaN,-12", "no number"},
        {"9,10,11,-12", "9,10,inf,-12", "no number"},
        {"9,10,11,-12", "9,10,+1,-12", "no number"},
        {"9,10,11,-12", "9,10,\"Inf\",-12", "no number"},
        {"9,10,11,-12", "9,10,1e39,-12", "too large"},
        {"9,10,11,-12", "9,10,[11],-12", "no number"},
        {"\"shape\": [3, 4]", "\"shape\": [4, 3]", "trace.json says [3, 4]"},
        {"\"dtype\": \"F32\"", "\"dtype\": \"F16\"", "trace.json says"},
        {"\"step\": 0", "\"step\": 1", "trace.json says 0"},
        {"\"name\": \"language_model.embed_tokens\", ", "", "has no \"name\""},
        {"\"values\": [", "\"numbers\": [", "has no \"values\""},
        {"], \"statistics\"", "], \"values\": [], \"statistics\"", "second"},
        {"\"step\": 0", "\"step\": 0, \"step\": 0", "second"},
        {"}}\n", "}", "the file ends"},
        {"}}\n", "}} x", "after the end"},
        {"{\"name\"", "[\"name\"", "'{'"},
    };
    for (const Case& each : cases) {
        BrokenTrace broken;
        replace_text(broken.hidden, each.from, each.to);
        INFO(each.from << " -> " << each.to);
        CHECK_THROWS_WITH(read_all(broken.run),
                          ContainsSubstring(each.message) &&
                              ContainsSubstring("000-language_model.embed_tokens.json"));
    }
}

TEST_CASE("trace reader: a tensor file cut off anywhere is an error")
{
    BrokenTrace broken;
    const std::string text = read_text(broken.hidden);
    for (std::size_t length = 24; length + 1 < text.size(); ++length) {
        write_text(broken.hidden, text.substr(0, length));
        INFO("cut after " << length << " bytes");
        CHECK_THROWS_AS(read_all(broken.run), std::runtime_error);
    }
}

TEST_CASE("trace reader: whole numbers stay exact and nothing else passes for one")
{
    BrokenTrace broken;
    const fs::path ids = broken.run / "tensors/000-input_ids.json";
    replace_text(ids, "128256", "9007199254740993");
    Trace trace(broken.run);
    std::vector<std::int64_t> values(3);
    ValueStream stream = trace.stream(*trace.find("input_ids"));
    CHECK(stream.read(values.data(), 3) == 3);
    CHECK(values[2] == 9007199254740993);
    for (const char* bad : {"1.5", "1e3", "\"NaN\"", "9223372036854775808"}) {
        BrokenTrace other;
        replace_text(other.run / "tensors/000-input_ids.json", "128256", bad);
        INFO(bad);
        CHECK_THROWS_AS(read_all(other.run), std::runtime_error);
    }
    std::vector<std::int64_t> whole(3);
    ValueStream floats = trace.stream(*trace.find("language_model.embed_tokens"));
    CHECK_THROWS_WITH(floats.read(whole.data(), 3), ContainsSubstring("I64"));
}

TEST_CASE("trace reader: too small for a float is zero")
{
    BrokenTrace broken;
    replace_text(broken.hidden, "-12", "-1e-60");
    const Trace trace(broken.run);
    CHECK(trace.load(*trace.find("language_model.embed_tokens")).values.back() == 0);
}

TEST_CASE("trace reader: broken .npy files")
{
    const TemporaryFolder folder;
    const std::string header = npy_header({3, 4}, false), numbers(48, '\0');
    write_text(folder / "good.npy", header + numbers);
    CHECK(NpyFile(folder / "good.npy").shape() == std::vector<std::int64_t>{3, 4});
    const auto check = [&](const std::string& bytes, const char* message) {
        write_text(folder / "bad.npy", bytes);
        CHECK_THROWS_WITH(NpyFile(folder / "bad.npy"), ContainsSubstring(message));
    };
    check("", "no .npy");
    check("hello world, hello", "no .npy");
    check(header.substr(0, 60), "cut short");
    check(header + numbers.substr(1), "needs 48 bytes");
    check(header + numbers + "x", "needs 48 bytes");
    check(std::string(header).replace(header.find("<f4"), 3, ">f4") + numbers, "little-endian");
    check(std::string(header).replace(header.find("False"), 5, "True ") + numbers, "row-major");
    check(std::string(header).replace(header.find("(3, 4)"), 6, "(-3,4)") + numbers, "without a shape");
    check(std::string("\x93NUMPY\x02\x00\xff\xff\xff\x7f", 12), "header of");
    CHECK_THROWS_WITH(NpyFile(folder / "none.npy"), ContainsSubstring("no such file"));
}
