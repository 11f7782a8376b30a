// The program `trace` on traces and files that are broken in every way, and on disks that are full.
#include "base/safetensors.h"
#include "tests/trace/trace_copy.h"

namespace fs = std::filesystem;
using namespace pictor_test;
using Json = nlohmann::json;

TEST_CASE("trace: broken traces are refused by every command", "[command_line][hostile]")
{
    const auto refused = [](const TraceCopy& copy, const std::vector<std::string>& words,
                            const Arguments& tensor = {}) {
        CAPTURE(words);
        Arguments show{"show", copy.text()};
        show.insert(show.end(), tensor.begin(), tensor.end());
        check_refused(trace(show), "trace", words);
        check_refused(trace({"diff", copy.text(), golden}), "trace", words);
        check_refused(trace({"check", golden, copy.text()}), "trace", words);
        check_refused(trace({"convert", copy.text(), (copy.folder.path / "out.safetensors").string()}),
                      "trace", words);
        check_refused(trace({"convert", copy.text(), (copy.folder.path / "out").string()}), "trace", words);
        CHECK(entries_of(copy.folder.path) == std::set<std::string>{"trace"});
    };
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("[]"), std::string("{}"), std::string(200000, '[')}) {
        const TraceCopy copy;
        write_file(copy.index_file(), text);
        refused(copy, {"trace.json"});
    }
    const struct {
        std::string key;
        Json value;
    } entries[] = {{"file", "../../outside.json"},
                   {"file", "/etc/passwd"},
                   {"shape", {1, -3}},
                   {"shape", {4611686018427387904, 16}},
                   {"shape", "flat"},
                   {"dtype", "F7"},
                   {"step", 1000000},
                   {"name", 5}};
    for (const auto& each : entries) {
        const TraceCopy copy;
        copy.change_index([&](Json& index) { index.at("tensors")[3][each.key] = each.value; });
        refused(copy, {"trace.json"});
    }
    const TraceCopy other_version;
    other_version.change_index([](Json& index) { index["version"] = 99; });
    refused(other_version, {"trace.json", "99"});
    const TraceCopy no_file;
    fs::remove(no_file.tensor_file("lm_head"));
    refused(no_file, {"000-lm_head.json"}, {"lm_head"});
    const TraceCopy truncated;
    write_file(truncated.tensor_file("lm_head"), read_file(truncated.tensor_file("lm_head")).substr(0, 2000));
    refused(truncated, {"000-lm_head.json"}, {"lm_head"});
    const TraceCopy words;
    words.set_first_value("lm_head", "much");
    refused(words, {"000-lm_head.json"}, {"lm_head"});
    const TraceCopy too_few;
    too_few.set_first_value("lm_head", "");
    refused(too_few, {"000-lm_head.json"}, {"lm_head"});
}

TEST_CASE("trace convert: broken files are refused, nothing is left behind", "[command_line][hostile]")
{
    const TempFolder folder;
    const std::string tensors = safetensors_bytes(RawTensors{{"lm_head", f32({2, 3}, {1, 2, 3, 4, 5, 6})}});
    write_file(folder.path / "short.safetensors", tensors.substr(0, tensors.size() - 4));
    write_file(folder.path / "header.safetensors", std::string(8, '\xff') + tensors);
    write_file(folder.path / "empty.safetensors", "");
    write_file(folder.path / "name.safetensors",
               safetensors_bytes(RawTensors{{"../../outside", f32({1}, {1})}}));
    write_file(folder.path / "text.json", "Not JSON.");
    write_file(folder.path / "other.json", R"({"a": 1})");
    fs::create_directory(folder.path / "nothing");
    fs::create_directory(folder.path / "bad");
    write_file(folder.path / "bad/lm_head.npy", "\x93NUMPY");
    const std::set<std::string> before = entries_of(folder.path);
    for (const std::string& name : before) {
        check_refused(trace({"convert", (folder.path / name).string(), (folder.path / "out").string()}),
                      "trace", {folder.path.string()});
        check_refused(
            trace({"convert", (folder.path / name).string(), (folder.path / "out.safetensors").string()}),
            "trace", {folder.path.string()});
    }
    CHECK(entries_of(folder.path) == before);
    check_refused(trace({"convert", golden, (folder.path / "text.json/out").string()}), "trace",
                  {"text.json"});
    check_refused(trace({"convert", golden, (folder.path / "nowhere/out.safetensors").string()}), "trace",
                  {"nowhere"});
    CHECK(entries_of(folder.path) == before);
}

TEST_CASE("trace: a full disk is a message, and leaves nothing behind", "[command_line][hostile]")
{
    const TempFolder folder;
    const Surroundings small{.largest_file = 4096};
    for (const std::string name : {"out", "out.safetensors"})
        check_refused(trace({"convert", golden, (folder.path / name).string()}, small), "trace",
                      {"cannot be written"});
    check_refused(trace({"convert", golden, (folder.path / "out").string(), "--to", "trace"}, small), "trace",
                  {"cannot be written"});
    CHECK(entries_of(folder.path).empty());

    if (!fs::exists("/dev/full")) {
        WARN("no /dev/full on this system: standard output that cannot be written is not tested");
        return;
    }
    for (const Arguments& arguments : {Arguments{"show", golden},
                                       {"diff", golden, golden},
                                       {"check", golden, golden, "--json"},
                                       {"--help"}})
        check_refused(trace(arguments, {.output = "/dev/full"}), "trace", {"standard output"});
}
