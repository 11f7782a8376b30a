#include "base/image_kind.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace pictor {
namespace {

using namespace std::string_view_literals;

// The bytes at one place of a file that give its format away.
struct Mark {
    std::size_t place;
    std::string_view bytes;
    std::string_view kind;
};

constexpr std::array marks{
    Mark{8, "WEBP"sv, "a WEBP picture"sv},
    Mark{0, "II*\0"sv, "a TIFF picture"sv},
    Mark{0, "MM\0*"sv, "a TIFF picture"sv},
    Mark{0, "II+\0"sv, "a BigTIFF picture"sv},
    Mark{0, "MM\0+"sv, "a BigTIFF picture"sv},
    Mark{4, "ftypavi"sv, "an AVIF picture"sv},
    Mark{4, "ftyphei"sv, "a HEIC picture"sv},
    Mark{4, "ftyphev"sv, "a HEIC picture"sv},
    Mark{4, "ftypmif1"sv, "a HEIF picture"sv},
    Mark{4, "ftypmsf1"sv, "a HEIF picture"sv},
    Mark{4, "ftyp"sv, "an MP4 or QuickTime film"sv},
    Mark{0, "\xFF\x0A"sv, "a JPEG XL picture"sv},
    Mark{0, "\0\0\0\x0CJXL "sv, "a JPEG XL picture"sv},
    Mark{0, "\0\0\0\x0CjP  "sv, "a JPEG 2000 picture"sv},
    Mark{0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000 picture"sv},
    Mark{0, "\0\0\1\0"sv, "a Windows icon"sv},
    Mark{0, "8BPS"sv, "a Photoshop document"sv},
    Mark{0, "qoif"sv, "a QOI picture"sv},
    Mark{0, "v/1\1"sv, "an OpenEXR picture"sv},
    Mark{0, "#?RADIANCE"sv, "a Radiance HDR picture"sv},
    Mark{0, "DDS "sv, "a DDS texture"sv},
    Mark{0, "P4\n"sv, "a PBM picture"sv},
    Mark{0, "P5\n"sv, "a PGM picture"sv},
    Mark{0, "P6\n"sv, "a PPM picture"sv},
    Mark{0, "%PDF-"sv, "a PDF document"sv},
    Mark{0, "<svg"sv, "an SVG drawing"sv},
    Mark{0, "<?xml"sv, "an XML file, perhaps an SVG drawing"sv},
    Mark{0, "<!DOCTYPE html"sv, "a web page"sv},
    Mark{0, "<!doctype html"sv, "a web page"sv},
    Mark{0, "<html"sv, "a web page"sv},
    Mark{0, "PK\3\4"sv, "a ZIP archive"sv},
    Mark{0, "version https://git-lfs"sv,
         "a Git LFS pointer, not the file itself (git lfs pull fetches it)"sv},
};

}  // namespace

std::string_view known_file_kind(const Bytes& bytes)
{
    const auto found = std::find_if(marks.begin(), marks.end(), [&](const Mark& mark) {
        return bytes.size() >= mark.place + mark.bytes.size() &&
               std::memcmp(bytes.data() + mark.place, mark.bytes.data(), mark.bytes.size()) == 0;
    });
    return found == marks.end() ? ""sv : found->kind;
}

}  // namespace pictor
