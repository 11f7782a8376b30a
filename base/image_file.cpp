#include "base/image_file.h"

#include <stdexcept>

#include <fmt/format.h>

#include "base/input_file.h"

namespace pictor {
namespace {

constexpr std::int64_t largest_side = 65500;
constexpr std::int64_t most_pixels = 100'000'000;
constexpr std::uint64_t largest_file = std::uint64_t{1} << 29;

}  // namespace

void refuse_image(const std::filesystem::path& file, std::string_view found, std::string_view right)
{
    throw std::runtime_error(fmt::format("{}: {}; wanted {}", file.string(), found, right));
}

void refuse_truncated(const std::filesystem::path& file, std::string_view kind, std::string_view where,
                      std::size_t size)
{
    refuse_image(file, fmt::format("truncated {}: the file ends after {} bytes, {}", kind, size, where),
                 "the whole file");
}

Bytes read_image_file(const std::filesystem::path& file)
{
    const std::string bytes = read_whole_file(file, largest_file, "a picture: PNG, JPEG, BMP or GIF");
    if (bytes.empty())
        refuse_image(file, "an empty file", "a picture: PNG, JPEG, BMP or GIF");
    return {bytes.begin(), bytes.end()};
}

void check_image_size(const std::filesystem::path& file, std::int64_t height, std::int64_t width)
{
    if (height <= 0 || width <= 0)
        refuse_image(file, fmt::format("a picture {} pixels high and {} wide", height, width),
                     "at least one pixel");
    if (height > largest_side || width > largest_side || height * width > most_pixels)
        refuse_image(
            file, fmt::format("a picture {} pixels high and {} wide", height, width),
            fmt::format("sides of at most {} and at most {} pixels in all", largest_side, most_pixels));
}

}  // namespace pictor
