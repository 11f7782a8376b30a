#include "base/png.h"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace pictor {
namespace {

using Path = std::filesystem::path;

std::uint32_t big_endian_32(const std::uint8_t* bytes)
{
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
           bytes[3];
}

// The checksum that ends every chunk of a PNG file (ISO 3309, as in zlib and Ethernet).
std::uint32_t crc32(const std::uint8_t* bytes, std::size_t size)
{
    static const std::array<std::uint32_t, 256> table = [] {
        std::array<std::uint32_t, 256> entries{};
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            std::uint32_t remainder = byte;
            for (int bit = 0; bit < 8; ++bit)
                remainder = remainder & 1 ? remainder >> 1 ^ 0xEDB88320u : remainder >> 1;
            entries[byte] = remainder;
        }
        return entries;
    }();
    std::uint32_t crc = ~0u;
    for (std::size_t i = 0; i < size; ++i)
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ crc >> 8;
    return ~crc;
}

void append_chunk(Bytes& png, const char* type, const std::uint8_t* data, std::size_t size)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        png.push_back(static_cast<std::uint8_t>(size >> shift));
    png.insert(png.end(), type, type + 4);
    png.insert(png.end(), data, data + size);
    png.insert(png.end(), 4, 0);  // stb_image does not read the checksum; read_png_chunks has checked it
}

void keep_png_chunk(const Path& file, const std::string& type, const std::uint8_t* data, std::size_t size,
                    Png& png)
{
    if (type == "IHDR") {
        if (size != 13)
            refuse_image(file, fmt::format("a damaged PNG whose header has {} bytes", size),
                         "a header of 13 bytes");
        png.width = big_endian_32(data);
        png.height = big_endian_32(data + 4);
        png.depth = data[8];
        png.colour = data[9];
        check_image_size(file, png.height, png.width);
        append_chunk(png.essential, "IHDR", data, size);
    } else if (type == "PLTE") {
        if (png.colour != 3)
            return;  // a suggestion for displays with few colours
        if (size == 0 || size % 3 != 0 || size > 768)
            refuse_image(file, fmt::format("a damaged PNG whose palette has {} bytes", size),
                         "1 to 256 colours of 3 bytes");
        // Pixels beyond a short palette are black, not whatever the decoder's memory holds.
        Bytes palette(data, data + size);
        palette.resize(768, 0);
        append_chunk(png.essential, "PLTE", palette.data(), palette.size());
    } else if (type == "tRNS") {
        if (png.colour == 3)
            append_chunk(png.essential, "tRNS", data, std::min<std::size_t>(size, 256));
        else
            png.transparent_colour.assign(data, data + size);
    } else if (type == "IDAT") {
        append_chunk(png.essential, "IDAT", data, size);
    } else if (type == "IEND") {
        append_chunk(png.essential, "IEND", data, 0);
    }
}

}  // namespace

Png read_png_chunks(const Path& file, const Bytes& bytes)
{
    Png png;
    png.essential.assign(bytes.begin(), bytes.begin() + 8);
    std::size_t position = 8;
    for (bool first = true;; first = false) {
        if (bytes.size() - position < 12)
            refuse_truncated(file, "PNG", "before its end mark IEND", bytes.size());
        const std::size_t size = big_endian_32(&bytes[position]);
        const std::string type(bytes.begin() + static_cast<std::ptrdiff_t>(position) + 4,
                               bytes.begin() + static_cast<std::ptrdiff_t>(position) + 8);
        const bool essential =
            type == "IHDR" || type == "PLTE" || type == "tRNS" || type == "IDAT" || type == "IEND";
        if (first != (type == "IHDR"))
            refuse_image(file, "a damaged PNG whose chunks are out of order",
                         "the header IHDR first, and once");
        if (size > bytes.size() - position - 12)
            refuse_truncated(
                file, "PNG",
                fmt::format("inside the {} chunk at byte {}", essential ? type : "unknown", position),
                bytes.size());
        const std::uint8_t* data = &bytes[position + 8];
        if (essential && crc32(data - 4, size + 4) != big_endian_32(data + size))
            refuse_image(file,
                         fmt::format("a damaged PNG: the checksum of the {} chunk at byte {} is wrong", type,
                                     position),
                         "an undamaged copy");
        keep_png_chunk(file, type, data, size, png);
        if (type == "IEND")
            return png;
        position += 12 + size;
    }
}

// TRAP(png_transparent_colour): Pillow compares the 8-bit pixels it made (1, 2 and 4 bits widened, 16 bits
// narrowed) with the low byte of the number in the file, which it widens only for 1 bit. Only depths 1 and 8
// mean what the file says.
std::optional<std::array<std::uint8_t, 3>> transparent_colour(const Png& png)
{
    const std::size_t n_colours = png.colour == 0 ? 1 : png.colour == 2 ? 3 : 0;
    if (n_colours == 0 || png.transparent_colour.size() < 2 * n_colours)
        return std::nullopt;
    std::array<std::uint8_t, 3> colour{};
    for (std::size_t i = 0; i < 3; ++i)
        colour[i] = png.transparent_colour[2 * (n_colours == 3 ? i : 0) + 1];
    if (png.depth == 1 && n_colours == 1 && (png.transparent_colour[0] || png.transparent_colour[1]))
        colour.fill(255);
    return colour;
}

}  // namespace pictor
