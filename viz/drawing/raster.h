// Pixels: reading a picture, scaling it for a drawing, writing PNG bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/at.h"

namespace pictor {

struct Rgb {
    std::uint8_t red = 0, green = 0, blue = 0;
    bool operator==(const Rgb&) const = default;
};

struct Raster {
    int width = 0;
    int height = 0;
    std::vector<Rgb> pixels;  // row by row

    Raster() = default;
    Raster(int width, int height, Rgb fill = {});
    Rgb& at(int x, int y) { return pictor::at(pixels, std::int64_t{y} * width + x); }
    Rgb at(int x, int y) const { return pictor::at(pixels, std::int64_t{y} * width + x); }
};

// The picture as the model sees it before it is resized: base/image_decode.h, which says what is refused.
Raster load_picture(const std::filesystem::path& file);

// Area average when shrinking, bilinear when growing.
Raster scale(const Raster& picture, int width, int height);

// The luminance of a pixel, 0..1.
double luminance(Rgb pixel);

std::string encode_png(const Raster& picture);
std::string encode_jpeg(const Raster& picture, int quality);
std::string base64(const std::string& bytes);

}  // namespace pictor
