#include "base/jpeg.h"

#include <cstdint>

#include <fmt/format.h>

namespace pictor {
namespace {

using Path = std::filesystem::path;

constexpr std::uint8_t fill = 0xFF, end_of_image = 0xD9, start_of_scan = 0xDA, huffman_tables = 0xC4;

// stb_image's tables hold 256 codes, and some of its versions write past them when a file declares more.
void check_huffman_tables(const Path& file, const Bytes& bytes, std::size_t position, std::size_t end)
{
    while (position < end) {
        std::size_t n_codes = 0;
        for (std::size_t length = 1; length <= 16 && position + length < end; ++length)
            n_codes += bytes[position + length];
        if (n_codes > 256 || position + 17 + n_codes > end)
            refuse_image(
                file,
                fmt::format("a damaged JPEG: the Huffman table at byte {} has {} codes", position, n_codes),
                "at most 256, and all of them there");
        position += 17 + n_codes;
    }
}

// A pixel byte FF, or a restart mark: both stand among compressed pixels.
bool is_stuffing(std::uint8_t marker) { return marker == 0x00 || (marker >= 0xD0 && marker <= 0xD7); }

// C0 to CF say how large the picture is, but for three that are something else.
bool is_frame(std::uint8_t marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != huffman_tables && marker != 0xC8 && marker != 0xCC;
}

// EE tells how colours are coded; the other notes and comments are nothing to the picture.
bool is_note(std::uint8_t marker)
{
    return (marker > 0xE0 && marker <= 0xEF && marker != 0xEE) || marker == 0xFE;
}

class Segments {
public:
    Segments(const Path& file, const Bytes& bytes) : file_(file), bytes_(bytes) {}

    Bytes essential()
    {
        keep(2);
        while (position_ + 1 < bytes_.size()) {
            const std::uint8_t marker = bytes_[position_ + 1];
            if (bytes_[position_] == fill && marker == fill) {
                ++position_;
            } else if (bytes_[position_] != fill || is_stuffing(marker)) {
                const std::size_t n = bytes_[position_] == fill ? 2 : 1;
                n_scans_ > 0 ? keep(n) : skip(n);  // before the first scan these are only noise
            } else if (marker == end_of_image) {
                keep(2);
                return essential_;
            } else {
                take_segment(marker);
            }
        }
        refuse_truncated(file_, "JPEG", "before its end mark FFD9", bytes_.size());
    }

private:
    void take_segment(std::uint8_t marker)
    {
        const bool whole = position_ + 4 <= bytes_.size();
        const std::size_t size = whole ? number(position_ + 2) : 0;
        if (whole && size < 2)
            refuse_image(
                file_, fmt::format("a damaged JPEG: the segment at byte {} claims {} bytes", position_, size),
                "at least 2");
        if (!whole || size > bytes_.size() - position_ - 2)
            refuse_truncated(file_, "JPEG", "before its end mark FFD9", bytes_.size());
        if (is_frame(marker) && size >= 7) {
            const std::int64_t height = number(position_ + 5), width = number(position_ + 7);
            check_image_size(file_, height, width);
            n_pixels_ = height * width;
        }
        if (marker == start_of_scan)
            count_scan();
        if (marker == huffman_tables)
            check_huffman_tables(file_, bytes_, position_ + 4, position_ + 2 + size);
        is_note(marker) ? skip(2 + size) : keep(2 + size);
    }

    // Each scan walks over the whole picture, however few bytes it has.
    void count_scan()
    {
        constexpr std::int64_t most_scans = 100, most_pixels_of_scans = 2'000'000'000;
        if (++n_scans_ > most_scans || n_scans_ * n_pixels_ > most_pixels_of_scans)
            refuse_image(file_,
                         fmt::format("a JPEG of {} scans over {} pixels, or more", n_scans_, n_pixels_),
                         fmt::format("at most {} scans, and {} pixels in all of them", most_scans,
                                     most_pixels_of_scans));
    }

    std::uint16_t number(std::size_t at) const
    {
        return static_cast<std::uint16_t>(bytes_[at] << 8 | bytes_[at + 1]);
    }
    void skip(std::size_t n) { position_ += n; }
    void keep(std::size_t n)
    {
        essential_.insert(essential_.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(position_),
                          bytes_.begin() + static_cast<std::ptrdiff_t>(position_ + n));
        skip(n);
    }

    const Path& file_;
    const Bytes& bytes_;
    Bytes essential_;
    std::size_t position_ = 0;
    std::int64_t n_scans_ = 0, n_pixels_ = 0;
};

}  // namespace

Bytes read_jpeg_segments(const Path& file, const Bytes& bytes) { return Segments(file, bytes).essential(); }

}  // namespace pictor
