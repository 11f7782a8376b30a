// The chunks of a PNG file.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/image_file.h"

namespace pictor {

struct Png {
    Bytes essential;  // the same picture with only the chunks that say what its pixels are
    std::int64_t height = 0;
    std::int64_t width = 0;
    int depth = 0;             // bits
    int colour = 0;            // 0 gray, 2 RGB, 3 palette, 4 gray + alpha, 6 RGBA
    Bytes transparent_colour;  // tRNS of gray and RGB: one or three 16-bit numbers
};

// Walks the chunks and checks them: stb_image itself would read past damaged ones without a word. `bytes`
// start with PNG's mark. Throws std::runtime_error: truncated, damaged, of absurd size.
Png read_png_chunks(const std::filesystem::path& file, const Bytes& bytes);

// The one colour that a gray or RGB picture declares transparent, as bytes to compare with; nothing when it
// has none.
std::optional<std::array<std::uint8_t, 3>> transparent_colour(const Png& png);

}  // namespace pictor
