#include "base/safetensors_writer.h"

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include <sys/resource.h>

#include "reference/checkpoint/load_tensors.h"
#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

using namespace pictor;
using pictor_test::error_of;
using pictor_test::TempFolder;

TEST_CASE("safetensors: written files read back, and are complete or not there")
{
    const TempFolder folder;
    const auto path = folder.path / "out.safetensors";
    const std::vector<float> floats{1.5f, -0.0f, std::numeric_limits<float>::infinity(), 1e-45f};
    const std::vector<std::int64_t> integers{std::numeric_limits<std::int64_t>::min(), 5};
    write_safetensors(path, {{"pixel_values", {2, 2}, floats.data()},
                             {"ids", {2}, integers.data()},
                             {"none", {0}, floats.data()}});
    {
        const SafetensorsFile file(path);
        CHECK(load_floats(file, "pixel_values", {2, 2}).values == floats);
        CHECK(load_integers(file, "ids", {2}) == integers);
        CHECK(is_aligned(*file.find("pixel_values")));
    }
    write_safetensors(path, {{"again", {1}, floats.data()}});  // replaces
    CHECK(SafetensorsFile(path).names() == std::vector<std::string>{"again"});

    CHECK_THAT(error_of([&] {
                   write_safetensors(path, {{"x", {1}, floats.data()}, {"x", {1}, floats.data()}});
               }),
               ContainsSubstring("tensor \"x\" appears twice"));
    CHECK_THAT(error_of([&] { write_safetensors(folder.path / "no" / "file", {}); }),
               ContainsSubstring("file: cannot be written"));
    CHECK_THAT(error_of([&] { write_safetensors(folder.path, {}); }), ContainsSubstring("is a folder"));
    CHECK_THAT(error_of([&] { write_safetensors("/dev/full", {}); }),
               ContainsSubstring("/dev/full: cannot be written: No space left"));
    CHECK(SafetensorsFile(path).names() == std::vector<std::string>{"again"});
}

TEST_CASE("safetensors: a full disk leaves the old file as it was, and no litter")
{
    const TempFolder folder;
    const auto path = folder.path / "out.safetensors";
    const std::vector<float> many(100'000, 1.0f);
    write_safetensors(path, {{"old", {1}, many.data()}});

    // A limit on file sizes stands in for the disk's end.
    rlimit old_limit{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &old_limit) == 0);
    const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{50'000, old_limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const std::string error = error_of([&] { write_safetensors(path, {{"new", {100'000}, many.data()}}); });
    setrlimit(RLIMIT_FSIZE, &old_limit);
    std::signal(SIGXFSZ, old_handler);

    CHECK_THAT(error, ContainsSubstring("out.safetensors: cannot be written"));
    CHECK(SafetensorsFile(path).names() == std::vector<std::string>{"old"});
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}
