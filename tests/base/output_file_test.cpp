// The one writer: nothing is lost, nothing half written stands under a final name, and one rule says what may
// be replaced.
#include "base/output_file.h"

#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/output_folder.h"
#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"
#include "tests/run_command.h"
#include "trace/recording/new_trace_folder.h"

using namespace pictor;
using namespace pictor_test;
namespace fs = std::filesystem;

namespace {

const std::string png = "\x89PNG rest", html = "<!DOCTYPE html>\n<p>", svg = "<?xml version=\"1.0\"?>\n<svg>";
const std::string json_text = "{\"a\": 1}", safetensors = safetensors_bytes("{}", "");

std::string error_writing(const fs::path& path, const std::string& bytes,
                          Overwrite overwrite = Overwrite::same_kind)
{
    return error_of([&] { write_whole_file(path, bytes, overwrite); });
}

}  // namespace

TEST_CASE("output file: the same kind is replaced, another only with --force")
{
    const TempFolder folder;
    const fs::path file = folder.path / "out";
    for (const std::string& kind : {png, html, svg, json_text, safetensors, std::string("%PDF-1.5")}) {
        CAPTURE(kind);
        fs::remove(file);
        CHECK(error_writing(file, kind) == "");
        CHECK(error_writing(file, kind + " ") == "");
        CHECK(read_file(file) == kind + " ");
        write_file(file, "my notes");
        CHECK_THAT(error_writing(file, kind),
                   ContainsSubstring("out: exists and is no ") && ContainsSubstring("--force to replace it"));
        CHECK(read_file(file) == "my notes");
        CHECK(error_writing(file, kind, Overwrite::any_file) == "");
        CHECK(read_file(file) == kind);
        write_file(file, "");
        CHECK(error_writing(file, kind) == "");
        CHECK(entries_of(folder.path) == std::set<std::string>{"out"});
    }
    CHECK_THAT(error_writing(file, "text of no kind"), ContainsSubstring("exists and is no such file"));
    CHECK_THAT(error_writing(folder.path, png, Overwrite::any_file), ContainsSubstring("is a folder"));
}

TEST_CASE("output file: permissions and links stay")
{
    const TempFolder folder;
    write_file(folder.path / "real", png);
    REQUIRE(chmod((folder.path / "real").c_str(), 0640) == 0);
    fs::create_symlink("real", folder.path / "link");
    CHECK(error_writing(folder.path / "link", png + "2") == "");
    CHECK(fs::is_symlink(folder.path / "link"));
    CHECK(read_file(folder.path / "real") == png + "2");
    CHECK((fs::status(folder.path / "real").permissions() & fs::perms::mask) == fs::perms(0640));
}

TEST_CASE("output file: devices and pipes are written to and stay what they are")
{
    const TempFolder folder;
    CHECK_THAT(error_writing("/dev/full", png), ContainsSubstring("/dev/full: cannot be written: No space"));
    CHECK(error_writing("/dev/null", png) == "");
    CHECK(fs::is_character_file("/dev/null"));
    const fs::path pipe = folder.path / "pipe";
    REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
    CHECK_THAT(error_writing(pipe, png), ContainsSubstring("is a pipe that nobody reads"));
    std::string got;
    std::thread reader([&] { got = read_file(pipe); });
    CHECK(error_writing(pipe, png) == "");
    reader.join();
    CHECK(got == png);
    CHECK(fs::is_fifo(pipe));
}

TEST_CASE("output file: what is not closed is gone, and what was there before is whole")
{
    const TempFolder folder;
    write_file(folder.path / "out", png);
    {
        OutputFile file(folder.path / "out", Overwrite::same_kind);
        file.write(std::string(1'000'000, 'x'));
        file.write({nullptr, 0});  // nothing, from nowhere
        CHECK(entries_of(folder.path).size() == 2);
    }
    CHECK(read_file(folder.path / "out") == png);
    CHECK(entries_of(folder.path) == std::set<std::string>{"out"});
    CHECK_THAT(error_writing(folder.path / "no" / "out", png),
               ContainsSubstring("cannot be written: No such"));
    CHECK_THAT(error_writing("/proc/out", png), ContainsSubstring("cannot be written"));
}

TEST_CASE("output folder: --force replaces a trace and nothing else")
{
    const TempFolder folder;
    const fs::path target = folder.path / "run";
    const auto write_trace = [&] {
        fs::create_directories(target / "tensors");
        write_file(target / "trace.json", "{\"format\": \"pictor-trace\"}");
        write_file(target / "tensors/000-x.json", "old");
    };
    const auto refusal = [&](bool force) {
        return error_of([&] { OutputFolder made(target, trace_folder_kind(), force); });
    };
    write_trace();
    CHECK_THAT(refusal(false), ContainsSubstring("exists already"));
    CHECK(refusal(true) == "");
    for (const char* name :
         {"note.txt", "policy.json", "tensors/note.json", "tensors/x.txt", "photos/cat.json"}) {
        CAPTURE(name);
        fs::create_directories((target / name).parent_path());
        write_file(target / name, "mine");
        CHECK_THAT(refusal(true), ContainsSubstring("no part of a trace folder"));
        CHECK(read_file(target / name) == "mine");
        fs::remove_all(target);
        write_trace();
    }
    fs::create_symlink("/etc", target / "tensors/001-x.json");
    CHECK_THAT(refusal(true), ContainsSubstring("no part of a trace folder"));
    fs::remove(target / "tensors/001-x.json");

    OutputFolder made(target, trace_folder_kind(), true);
    made.make_subfolder("tensors");
    write_file(made.path() / "trace.json", "new");
    made.move_into_place();
    CHECK(read_file(target / "trace.json") == "new");
    CHECK_FALSE(fs::exists(target / "tensors/000-x.json"));
    CHECK(entries_of(folder.path) == std::set<std::string>{"run"});
}
