#include "base/image_file.h"

#include <fstream>
#include <stdexcept>
#include <system_error>

#include <fmt/format.h>

namespace pictor {
namespace {

constexpr std::int64_t largest_side = 65500;
constexpr std::int64_t most_pixels = 100'000'000;
constexpr std::uintmax_t largest_file = std::uintmax_t{1} << 29;

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
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (!std::filesystem::exists(status))
        refuse_image(file, "no such file", "a picture: PNG, JPEG, BMP or GIF");
    if (!std::filesystem::is_regular_file(status))
        refuse_image(file, std::filesystem::is_directory(status) ? "a folder" : "not a regular file",
                     "a picture: PNG, JPEG, BMP or GIF");
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    if (error)
        refuse_image(file, "cannot be read: " + error.message(), "a readable picture");
    if (size == 0)
        refuse_image(file, "an empty file", "a picture: PNG, JPEG, BMP or GIF");
    if (size > largest_file)
        refuse_image(file, fmt::format("{} bytes", size),
                     fmt::format("a picture file of at most {} bytes", largest_file));
    std::ifstream stream(file, std::ios::binary);
    Bytes bytes(static_cast<std::size_t>(size));
    if (!stream ||
        !stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
        refuse_image(file, "cannot be read", "a picture whose permissions allow reading");
    return bytes;
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
