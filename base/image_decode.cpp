#include "base/image_decode.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/image_file.h"
#include "base/image_kind.h"
#include "base/jpeg.h"
#include "base/png.h"
#include "base/stb.h"

namespace pictor {
namespace {

using Path = std::filesystem::path;

// What stb_image gives: gray, gray + alpha, RGB or RGBA, 8 bits each.
struct Pixels {
    int height = 0;
    int width = 0;
    int n_channels = 0;
    std::unique_ptr<std::uint8_t, decltype(&std::free)> values{nullptr, &std::free};
};

// A picture needs up to 16 bytes a pixel while it is decoded, and a little for tables and margins.
void limit_memory(std::int64_t height, std::int64_t width)
{
    constexpr std::size_t tables = std::size_t{32} << 20, most = std::size_t{1} << 30;
    limit_decoder_memory(std::min(most, tables + static_cast<std::size_t>(height * width) * 16));
}

Pixels decode_bytes(const Path& file, const Bytes& bytes)
{
    const int size = static_cast<int>(bytes.size());
    Pixels pixels;
    limit_memory(1, 1);
    if (!stbi_info_from_memory(bytes.data(), size, &pixels.width, &pixels.height, &pixels.n_channels))
        refuse_image(file, fmt::format("a damaged or unusual picture ({})", stbi_failure_reason()),
                     "a picture that other programs open");
    check_image_size(file, std::abs(std::int64_t{pixels.height}),
                     pixels.width);  // negative in a BMP whose rows run downwards
    limit_memory(std::abs(std::int64_t{pixels.height}), pixels.width);
    pixels.values.reset(
        stbi_load_from_memory(bytes.data(), size, &pixels.width, &pixels.height, &pixels.n_channels, 0));
    if (!pixels.values)
        refuse_image(file, fmt::format("a damaged or unusual picture ({})", stbi_failure_reason()),
                     "a picture that other programs open");
    check_image_size(file, pixels.height, pixels.width);
    return pixels;
}

// A byte seen through `alpha` on white, rounded as Pillow's alpha_composite does.
std::uint8_t on_white(std::uint32_t value, std::uint32_t alpha)
{
    const std::uint32_t sum = (value * alpha + 255 * (255 - alpha)) * 128 + (0x80 << 7);
    return static_cast<std::uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// TRAP(transparent_pixels): whatever colour lies under a transparent pixel must not show. Meta's code drops
// alpha and shows it; transformers composites on white, and so does Pictor under both rules.
Image to_rgb(const Pixels& pixels, bool use_alpha)
{
    Image picture{pixels.height, pixels.width,
                  Bytes(std::size_t(pixels.height) * std::size_t(pixels.width) * 3)};
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

// -----------------------------------------------------------------------------------------------------------
// PNG

// TRAP(gray_16_bit): Pillow turns 16-bit gray into 8 bits by clipping at 255, not by keeping the high byte,
// so nearly every such picture comes out white. Both references read pictures with Pillow.
Image decode_gray_16(const Path& file, const Png& png)
{
    int width = 0, height = 0, n_channels = 0;
    limit_memory(png.height, png.width);
    const std::unique_ptr<std::uint16_t, decltype(&std::free)> values(
        stbi_load_16_from_memory(png.essential.data(), static_cast<int>(png.essential.size()), &width,
                                 &height, &n_channels, 1),
        &std::free);
    if (!values)
        refuse_image(file, fmt::format("a damaged PNG ({})", stbi_failure_reason()), "an undamaged copy");
    Image picture{height, width, Bytes(std::size_t(height) * std::size_t(width) * 3)};
    for (std::size_t i = 0; i < picture.rgb.size(); ++i)
        picture.rgb[i] = static_cast<std::uint8_t>(std::min<int>(values.get()[i / 3], 255));
    return picture;
}

Image decode_png(const Path& file, const Bytes& bytes)
{
    const Png png = read_png_chunks(file, bytes);
    Image picture = png.colour == 0 && png.depth == 16 ? decode_gray_16(file, png)
                                                       : to_rgb(decode_bytes(file, png.essential), true);
    if (const auto hidden = transparent_colour(png)) {
        for (std::size_t i = 0; i < picture.rgb.size(); i += 3)
            if (std::equal(hidden->begin(), hidden->end(), &picture.rgb[i]))
                std::fill_n(&picture.rgb[i], 3, std::uint8_t{255});
    }
    return picture;
}

// -----------------------------------------------------------------------------------------------------------
// BMP and GIF

std::uint32_t little_endian(const Bytes& bytes, std::size_t position, int n_bytes)
{
    std::uint32_t value = 0;
    for (std::size_t at = position + static_cast<std::size_t>(n_bytes); at > position; --at)
        value = value << 8 | bytes[at - 1];
    return value;
}

// Whether there are as many bytes as the rows need, and whether the fourth byte of a pixel is alpha.
Image decode_bmp(const Path& file, const Bytes& bytes)
{
    if (bytes.size() < 26 || (little_endian(bytes, 14, 4) != 12 && bytes.size() < 54))
        refuse_truncated(file, "BMP", "inside its header", bytes.size());
    const bool old_header = little_endian(bytes, 14, 4) == 12;
    const std::int64_t width =
        old_header ? little_endian(bytes, 18, 2) : static_cast<std::int32_t>(little_endian(bytes, 18, 4));
    const std::int64_t height =
        old_header ? little_endian(bytes, 20, 2)
                   : std::abs(std::int64_t{static_cast<std::int32_t>(little_endian(bytes, 22, 4))});
    const std::int64_t bits = little_endian(bytes, old_header ? 24 : 28, 2);
    const std::uint32_t compression = old_header ? 0 : little_endian(bytes, 30, 4);
    check_image_size(file, height, width);
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
    const auto palette_bytes = [](std::uint8_t flags) {
        return flags & 0x80 ? std::size_t{3} << ((flags & 7) + 1) : std::size_t{0};
    };
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
        refuse_image(file,
                     fmt::format("a damaged GIF: byte {} is {:#04x} where its first frame should start",
                                 position, bytes[position]),
                     "a GIF with at least one frame");
    const std::size_t pixels = position + 10 + palette_bytes(byte_at(position + 9)) + 1;
    skip_blocks(pixels);
    if (palette_bytes(bytes[position + 9]))
        palette = position + 10;

    // Pillow paints the rest of the screen with the transparent colour, or else with the palette's first.
    GifFrame frame{little_endian(bytes, position + 1, 2),
                   little_endian(bytes, position + 3, 2),
                   little_endian(bytes, position + 5, 2),
                   little_endian(bytes, position + 7, 2),
                   {}};
    if (transparent)
        frame.around.fill(255);
    else if (palette != 0)
        std::copy_n(&bytes[palette], 3, frame.around.begin());
    return frame;
}

Image decode_gif(const Path& file, const Bytes& bytes)
{
    const GifFrame frame = read_gif_frame(file, bytes);
    // Without a background index stb_image leaves alone what the frame does not paint.
    Bytes no_background = bytes;
    no_background[11] = 0;
    Image picture = to_rgb(decode_bytes(file, no_background), true);
    for (std::int64_t row = 0; row < picture.height; ++row)
        for (std::int64_t column = 0; column < picture.width; ++column)
            if (row < frame.top || row >= frame.top + frame.height || column < frame.left ||
                column >= frame.left + frame.width)
                std::copy(frame.around.begin(), frame.around.end(), picture.pixel(row, column));
    return picture;
}

}  // namespace

Image decode_image(const std::filesystem::path& file)
{
    using namespace std::string_view_literals;
    const Bytes bytes = read_image_file(file);
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
    if (const std::string_view kind = known_file_kind(bytes); !kind.empty())
        refuse_image(file, fmt::format("{}, which this program does not read", kind),
                     "PNG, JPEG, BMP or GIF: another program can save it as one");
    std::string start;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        start += fmt::format("{}{:02x}", i ? " " : "", bytes[i]);
    refuse_image(file, "not a picture this program reads (it starts with the bytes " + start + ")",
                 "PNG, JPEG, BMP or GIF");
}

}  // namespace pictor
