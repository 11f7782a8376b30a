// A picture file as bytes, and how it is refused: what every format needs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace pictor {

using Bytes = std::vector<std::uint8_t>;

// Throws std::runtime_error: the file, what was found, what would be right.
[[noreturn]] void refuse_image(const std::filesystem::path& file, std::string_view found,
                               std::string_view right);

// The same for a file that ends too early. kind: "PNG"; where: "before its end mark IEND".
[[noreturn]] void refuse_truncated(const std::filesystem::path& file, std::string_view kind,
                                   std::string_view where, std::size_t size);

// Refuses folders, empty files and those over 512 MiB.
Bytes read_image_file(const std::filesystem::path& file);

// Refuses sides below 1 or over 65,500 pixels, and more than 100 million pixels.
void check_image_size(const std::filesystem::path& file, std::int64_t height, std::int64_t width);

}  // namespace pictor
