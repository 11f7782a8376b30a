// From a picture file to red, green and blue bytes: the first step a picture takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace pictor {

struct Image {
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::vector<std::uint8_t> rgb;  // [height][width][3], rows from the top

    const std::uint8_t* pixel(std::int64_t row, std::int64_t column) const
    {
        return rgb.data() + (row * width + column) * 3;
    }
    std::uint8_t* pixel(std::int64_t row, std::int64_t column)
    {
        return rgb.data() + (row * width + column) * 3;
    }
};

// Reads PNG, JPEG, BMP and GIF (its first frame). Transparent pixels are composited on white; an EXIF
// orientation is ignored; 16-bit channels keep their high byte (16-bit gray is clipped at 255 instead, as in
// the references). Throws std::runtime_error naming the file, what was found and what would be right: not a
// picture, truncated, damaged, a side over 65,500 pixels, over 100 million pixels.
Image decode_image(const std::filesystem::path& file);

}  // namespace pictor
