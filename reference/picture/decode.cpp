#include "reference/picture/decode.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace {

// stb_image asks for memory through these two: a small file that claims to unpack to gigabytes gets none.
constexpr std::size_t most_decoder_bytes = std::size_t{1} << 30;
void* decoder_malloc(std::size_t size) { return size > most_decoder_bytes ? nullptr : std::malloc(size); }
void* decoder_realloc(void* old, std::size_t size) { return size > most_decoder_bytes ? nullptr : std::realloc(old, size); }

}  // namespace

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_MALLOC(size) decoder_malloc(size)
#define STBI_REALLOC(old, size) decoder_realloc(old, size)
#define STBI_FREE(old) std::free(old)
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace pictor {
namespace {

constexpr std::int64_t largest_side = 65500;
constexpr std::int64_t most_pixels = 100'000'000;
constexpr std::uintmax_t largest_file = std::uintmax_t{1} << 29;
constexpr int most_jpeg_scans = 1000;

using Bytes = std::vector<std::uint8_t>;
using Path = std::filesystem::path;

[[noreturn]] void refuse(const Path& file, std::string_view found, std::string_view right)
{
    throw std::runtime_error(fmt::format("{}: {}; wanted {}", file.string(), found, right));
}

[[noreturn]] void refuse_truncated(const Path& file, std::string_view kind, std::string_view where, std::size_t size)
{
    refuse(file, fmt::format("truncated {}: the file ends after {} bytes, {}", kind, size, where), "the whole file");
}

Bytes read_whole_file(const Path& file)
{
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    if (!std::filesystem::exists(status))
        refuse(file, "no such file", "a picture: PNG, JPEG, BMP or GIF");
    if (!std::filesystem::is_regular_file(status))
        refuse(file, std::filesystem::is_directory(status) ? "a folder" : "not a regular file", "a picture: PNG, JPEG, BMP or GIF");
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    if (error)
        refuse(file, "cannot be read: " + error.message(), "a readable picture");
    if (size == 0)
        refuse(file, "an empty file", "a picture: PNG, JPEG, BMP or GIF");
    if (size > largest_file)
        refuse(file, fmt::format("{} bytes", size), fmt::format("a picture file of at most {} bytes", largest_file));
    std::ifstream stream(file, std::ios::binary);
    Bytes bytes(static_cast<std::size_t>(size));
    if (!stream || !stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
        refuse(file, "cannot be read", "a picture whose permissions allow reading");
    return bytes;
}

void check_size(const Path& file, std::int64_t height, std::int64_t width)
{
    if (height <= 0 || width <= 0)
        refuse(file, fmt::format("a picture {} pixels high and {} wide", height, width), "at least one pixel");
    if (height > largest_side || width > largest_side || height * width > most_pixels)
        refuse(file, fmt::format("a picture {} pixels high and {} wide", height, width),
               fmt::format("sides of at most {} and at most {} pixels in all", largest_side, most_pixels));
}

// What stb_image gives: gray, gray + alpha, RGB or RGBA, 8 bits each.
struct Pixels {
    int height = 0;
    int width = 0;
    int n_channels = 0;
    std::unique_ptr<std::uint8_t, decltype(&std::free)> values{nullptr, &std::free};
};

Pixels decode_bytes(const Path& file, const Bytes& bytes)
{
    const int size = static_cast<int>(bytes.size());
    Pixels pixels;
    if (!stbi_info_from_memory(bytes.data(), size, &pixels.width, &pixels.height, &pixels.n_channels))
        refuse(file, fmt::format("a damaged or unusual picture ({})", stbi_failure_reason()), "a picture that other programs open");
    check_size(file, std::abs(std::int64_t{pixels.height}), pixels.width);  // negative in a BMP whose rows run downwards
    pixels.values.reset(stbi_load_from_memory(bytes.data(), size, &pixels.width, &pixels.height, &pixels.n_channels, 0));
    if (!pixels.values)
        refuse(file, fmt::format("a damaged or unusual picture ({})", stbi_failure_reason()), "a picture that other programs open");
    check_size(file, pixels.height, pixels.width);
    return pixels;
}

// A byte seen through `alpha` on white, rounded as Pillow's alpha_composite does.
std::uint8_t on_white(std::uint32_t value, std::uint32_t alpha)
{
    const std::uint32_t sum = (value * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
    return static_cast<std::uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// TRAP(transparent_pixels): whatever colour lies under a transparent pixel must not show. Meta's code drops alpha and
// shows it; transformers composites on white, and so does Pictor under both rules.
Picture to_rgb(const Pixels& pixels, bool use_alpha)
{
    Picture picture{pixels.height, pixels.width, Bytes(std::size_t(pixels.height) * std::size_t(pixels.width) * 3)};
    const int n_colours = pixels.n_channels < 3 ? 1 : 3;
    const bool has_alpha = pixels.n_channels == 2 || pixels.n_channels == 4;
    const std::uint8_t* source = pixels.values.get();
    for (std::size_t pixel = 0; pixel < picture.rgb.size() / 3; ++pixel, source += pixels.n_channels) {
        const std::uint32_t alpha = has_alpha && use_alpha ? source[n_colours] : 255;
        for (std::size_t colour = 0; colour < 3; ++colour)
            picture.rgb[pixel * 3 + colour] = on_white(source[n_colours == 3 ? colour : 0], alpha);
    }
    return picture;
}

// ---------------------------------------------------------------------------------------------------------------- PNG

std::uint32_t big_endian_32(const std::uint8_t* bytes)
{
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
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

struct Png {
    Bytes essential;  // the same picture with only the chunks that say what its pixels are
    std::int64_t height = 0;
    std::int64_t width = 0;
    int depth = 0;    // bits
    int colour = 0;   // 0 gray, 2 RGB, 3 palette, 4 gray + alpha, 6 RGBA
    Bytes transparent_colour;  // tRNS of gray and RGB: one or three 16-bit numbers
};

void append_chunk(Bytes& png, const char* type, const std::uint8_t* data, std::size_t size)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        png.push_back(static_cast<std::uint8_t>(size >> shift));
    png.insert(png.end(), type, type + 4);
    png.insert(png.end(), data, data + size);
    png.insert(png.end(), 4, 0);  // stb_image does not read the checksum; read_png_chunks has checked it
}

void keep_png_chunk(const Path& file, const std::string& type, const std::uint8_t* data, std::size_t size, Png& png)
{
    if (type == "IHDR") {
        if (size != 13)
            refuse(file, fmt::format("a damaged PNG whose header has {} bytes", size), "a header of 13 bytes");
        png.width = big_endian_32(data);
        png.height = big_endian_32(data + 4);
        png.depth = data[8];
        png.colour = data[9];
        check_size(file, png.height, png.width);
        append_chunk(png.essential, "IHDR", data, size);
    } else if (type == "PLTE") {
        if (png.colour != 3)
            return;  // a suggestion for displays with few colours
        if (size == 0 || size % 3 != 0 || size > 768)
            refuse(file, fmt::format("a damaged PNG whose palette has {} bytes", size), "1 to 256 colours of 3 bytes");
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

// Walks the chunks: stb_image itself would read past damaged ones without a word.
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
        const bool essential = type == "IHDR" || type == "PLTE" || type == "tRNS" || type == "IDAT" || type == "IEND";
        if (first != (type == "IHDR"))
            refuse(file, "a damaged PNG whose chunks are out of order", "the header IHDR first, and once");
        if (size > bytes.size() - position - 12)
            refuse_truncated(file, "PNG", fmt::format("inside the {} chunk at byte {}", essential ? type : "unknown", position), bytes.size());
        const std::uint8_t* data = &bytes[position + 8];
        if (essential && crc32(data - 4, size + 4) != big_endian_32(data + size))
            refuse(file, fmt::format("a damaged PNG: the checksum of the {} chunk at byte {} is wrong", type, position),
                   "an undamaged copy");
        keep_png_chunk(file, type, data, size, png);
        if (type == "IEND")
            return png;
        position += 12 + size;
    }
}

// The one colour that a gray or RGB picture declares transparent, as bytes to compare with; nothing when it has none.
// TRAP(png_transparent_colour): Pillow compares the 8-bit pixels it made (1, 2 and 4 bits widened, 16 bits narrowed) with
// the low byte of the number in the file, which it widens only for 1 bit. Only depths 1 and 8 mean what the file says.
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

// TRAP(gray_16_bit): Pillow turns 16-bit gray into 8 bits by clipping at 255, not by keeping the high byte, so nearly
// every such picture comes out white. Both references read pictures with Pillow.
Picture decode_gray_16(const Path& file, const Png& png)
{
    int width = 0, height = 0, n_channels = 0;
    const std::unique_ptr<std::uint16_t, decltype(&std::free)> values(
        stbi_load_16_from_memory(png.essential.data(), static_cast<int>(png.essential.size()), &width, &height, &n_channels, 1), &std::free);
    if (!values)
        refuse(file, fmt::format("a damaged PNG ({})", stbi_failure_reason()), "an undamaged copy");
    Picture picture{height, width, Bytes(std::size_t(height) * std::size_t(width) * 3)};
    for (std::size_t i = 0; i < picture.rgb.size(); ++i)
        picture.rgb[i] = static_cast<std::uint8_t>(std::min<int>(values.get()[i / 3], 255));
    return picture;
}

Picture decode_png(const Path& file, const Bytes& bytes)
{
    const Png png = read_png_chunks(file, bytes);
    Picture picture = png.colour == 0 && png.depth == 16 ? decode_gray_16(file, png) : to_rgb(decode_bytes(file, png.essential), true);
    if (const auto hidden = transparent_colour(png)) {
        for (std::size_t i = 0; i < picture.rgb.size(); i += 3)
            if (std::equal(hidden->begin(), hidden->end(), &picture.rgb[i]))
                std::fill_n(&picture.rgb[i], 3, std::uint8_t{255});
    }
    return picture;
}

// --------------------------------------------------------------------------------------------------- JPEG, BMP and GIF

// stb_image's tables hold 256 codes, and some of its versions write past them when a file declares more.
void check_huffman_tables(const Path& file, const Bytes& bytes, std::size_t position, std::size_t end)
{
    while (position < end) {
        std::size_t n_codes = 0;
        for (std::size_t length = 1; length <= 16 && position + length < end; ++length)
            n_codes += bytes[position + length];
        if (n_codes > 256 || position + 17 + n_codes > end)
            refuse(file, fmt::format("a damaged JPEG: the Huffman table at byte {} has {} codes", position, n_codes), "at most 256, and all of them there");
        position += 17 + n_codes;
    }
}

// The same picture without comments and the notes of cameras. Follows the markers to the end mark: stb_image itself paints
// what is missing gray without a word.
Bytes read_jpeg_segments(const Path& file, const Bytes& bytes)
{
    Bytes essential(bytes.begin(), bytes.begin() + 2);
    int n_scans = 0;
    std::size_t position = 2;
    while (position + 1 < bytes.size()) {
        const std::uint8_t marker = bytes[position + 1];
        const bool stuffing = marker == 0x00 || (marker >= 0xD0 && marker <= 0xD7);  // a pixel byte FF; a restart mark
        if (bytes[position] == 0xFF && marker == 0xFF) {
            ++position;  // fill byte
            continue;
        }
        if (bytes[position] != 0xFF || stuffing) {
            const std::size_t n = bytes[position] == 0xFF ? 2 : 1;
            if (n_scans > 0)  // compressed pixels; before the first scan only noise
                essential.insert(essential.end(), &bytes[position], &bytes[position] + n);
            position += n;
            continue;
        }
        if (marker == 0xD9) {
            essential.insert(essential.end(), {0xFF, 0xD9});
            return essential;
        }
        if (position + 4 > bytes.size())
            break;
        const std::size_t size = std::size_t{bytes[position + 2]} << 8 | bytes[position + 3];
        if (size < 2)
            refuse(file, fmt::format("a damaged JPEG: the segment at byte {} claims {} bytes", position, size), "at least 2");
        if (size > bytes.size() - position - 2)
            break;
        if (marker == 0xDA && ++n_scans > most_jpeg_scans)
            refuse(file, fmt::format("a JPEG of more than {} scans", most_jpeg_scans), "a picture, which needs about ten");
        if (marker == 0xC4)
            check_huffman_tables(file, bytes, position + 4, position + 2 + size);
        const bool note = (marker > 0xE0 && marker <= 0xEF && marker != 0xEE) || marker == 0xFE;  // EE tells how colours are coded
        if (!note)
            essential.insert(essential.end(), bytes.begin() + static_cast<std::ptrdiff_t>(position),
                             bytes.begin() + static_cast<std::ptrdiff_t>(position + 2 + size));
        position += 2 + size;
    }
    refuse_truncated(file, "JPEG", "before its end mark FFD9", bytes.size());
}

std::uint32_t little_endian(const Bytes& bytes, std::size_t position, int n_bytes)
{
    std::uint32_t value = 0;
    for (int i = n_bytes - 1; i >= 0; --i)
        value = value << 8 | bytes[position + static_cast<std::size_t>(i)];
    return value;
}

// Whether there are as many bytes as the rows need, and whether the fourth byte of a pixel is alpha.
Picture decode_bmp(const Path& file, const Bytes& bytes)
{
    if (bytes.size() < 26 || (little_endian(bytes, 14, 4) != 12 && bytes.size() < 54))
        refuse_truncated(file, "BMP", "inside its header", bytes.size());
    const bool old_header = little_endian(bytes, 14, 4) == 12;
    const std::int64_t width = old_header ? little_endian(bytes, 18, 2) : static_cast<std::int32_t>(little_endian(bytes, 18, 4));
    const std::int64_t height = old_header ? little_endian(bytes, 20, 2) : std::abs(std::int64_t{static_cast<std::int32_t>(little_endian(bytes, 22, 4))});
    const std::int64_t bits = little_endian(bytes, old_header ? 24 : 28, 2);
    const std::uint32_t compression = old_header ? 0 : little_endian(bytes, 30, 4);
    check_size(file, height, width);
    const std::int64_t needed = little_endian(bytes, 10, 4) + (width * bits + 31) / 32 * 4 * height;
    if ((compression == 0 || compression == 3) && needed > static_cast<std::int64_t>(bytes.size()))
        refuse_truncated(file, "BMP", fmt::format("where its rows need {}", needed), bytes.size());
    return to_rgb(decode_bytes(file, bytes), compression == 3);
}

// Where a GIF's first frame lies on its screen, and what shows around it.
struct GifFrame {
    std::int64_t left = 0, top = 0, width = 0, height = 0;
    std::array<std::uint8_t, 3> around{};
};

// Walks the blocks up to the end of the first frame: stb_image leaves out what is missing without a word.
GifFrame read_gif_frame(const Path& file, const Bytes& bytes)
{
    const auto byte_at = [&](std::size_t position) {
        if (position >= bytes.size())
            refuse_truncated(file, "GIF", "inside its first frame", bytes.size());
        return bytes[position];
    };
    const auto palette_bytes = [](std::uint8_t flags) { return flags & 0x80 ? std::size_t{3} << ((flags & 7) + 1) : std::size_t{0}; };
    const auto skip_blocks = [&](std::size_t position) {
        while (byte_at(position) != 0)
            position += 1 + std::size_t{byte_at(position)};
        return position + 1;
    };

    std::size_t palette = palette_bytes(byte_at(10)) ? 13 : 0;
    std::size_t position = 13 + palette_bytes(byte_at(10));
    bool transparent = false;
    while (byte_at(position) == 0x21) {
        if (byte_at(position + 1) == 0xF9)
            transparent = byte_at(position + 3) & 1;
        position = skip_blocks(position + 2);
    }
    if (byte_at(position) != 0x2C)
        refuse(file, fmt::format("a damaged GIF: byte {} is {:#04x} where its first frame should start", position, bytes[position]),
               "a GIF with at least one frame");
    const std::size_t pixels = position + 10 + palette_bytes(byte_at(position + 9)) + 1;
    skip_blocks(pixels);
    if (palette_bytes(bytes[position + 9]))
        palette = position + 10;

    // Pillow paints the rest of the screen with the transparent colour, or else with the palette's first.
    GifFrame frame{little_endian(bytes, position + 1, 2), little_endian(bytes, position + 3, 2),
                   little_endian(bytes, position + 5, 2), little_endian(bytes, position + 7, 2), {}};
    if (transparent)
        frame.around.fill(255);
    else if (palette != 0)
        std::copy_n(&bytes[palette], 3, frame.around.begin());
    return frame;
}

Picture decode_gif(const Path& file, const Bytes& bytes)
{
    const GifFrame frame = read_gif_frame(file, bytes);
    // Without a background index stb_image leaves alone what the frame does not paint.
    Bytes no_background = bytes;
    no_background[11] = 0;
    Picture picture = to_rgb(decode_bytes(file, no_background), true);
    for (std::int64_t row = 0; row < picture.height; ++row)
        for (std::int64_t column = 0; column < picture.width; ++column)
            if (row < frame.top || row >= frame.top + frame.height || column < frame.left || column >= frame.left + frame.width)
                std::copy(frame.around.begin(), frame.around.end(), picture.pixel(row, column));
    return picture;
}

}  // namespace

Picture decode_picture(const std::filesystem::path& file)
{
    using namespace std::string_view_literals;
    const Bytes bytes = read_whole_file(file);
    const auto starts_with = [&](std::string_view mark) {
        return bytes.size() >= mark.size() && std::memcmp(bytes.data(), mark.data(), mark.size()) == 0;
    };
    if (starts_with("\x89PNG\r\n\x1a\n"sv))
        return decode_png(file, bytes);
    if (starts_with("BM"sv))
        return decode_bmp(file, bytes);
    if (starts_with("\xFF\xD8\xFF"sv))
        return to_rgb(decode_bytes(file, read_jpeg_segments(file, bytes)), false);
    if (starts_with("GIF87a"sv) || starts_with("GIF89a"sv))
        return decode_gif(file, bytes);
    std::string start;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        start += fmt::format("{}{:02x}", i ? " " : "", bytes[i]);
    refuse(file, "not a picture this program reads (it starts with the bytes " + start + ")", "PNG, JPEG, BMP or GIF");
}

}  // namespace pictor
