#include "viz/drawing/raster.h"

#include <algorithm>
#include <cmath>

#include "base/at.h"
#include "base/image_decode.h"
#include "base/stb.h"

namespace pictor {

Raster::Raster(int width, int height, Rgb fill)
    : width(width), height(height),
      pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), fill)
{
}

Raster load_picture(const std::filesystem::path& file)
{
    const Image image = decode_image(file);
    Raster picture(static_cast<int>(image.width), static_cast<int>(image.height));
    for (std::size_t i = 0; i < picture.pixels.size(); ++i)
        picture.pixels[i] = {image.rgb[3 * i], image.rgb[3 * i + 1], image.rgb[3 * i + 2]};
    return picture;
}

namespace {

// For each output pixel of one axis: the input pixels it covers and their weights.
struct Span {
    int first = 0;
    std::vector<float> weights;
};

std::vector<Span> axis_spans(int from, int to)
{
    const double ratio = static_cast<double>(from) / to;
    const double radius = std::max(1.0, ratio);
    std::vector<Span> spans(static_cast<std::size_t>(to));
    for (int i = 0; i < to; ++i) {
        const double centre = (i + 0.5) * ratio - 0.5;
        const int first = std::max(0, static_cast<int>(std::ceil(centre - radius)));
        const int last = std::min(from - 1, static_cast<int>(std::floor(centre + radius)));
        Span span{first, {}};
        float sum = 0;
        for (int j = first; j <= last; ++j) {
            const double weight = std::max(0.0, 1.0 - std::abs(j - centre) / radius);
            span.weights.push_back(static_cast<float>(weight));
            sum += span.weights.back();
        }
        for (float& weight : span.weights)
            weight /= sum;
        at(spans, i) = std::move(span);
    }
    return spans;
}

std::uint8_t to_byte(float value)
{
    return static_cast<std::uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
}

template <class At> Rgb blend(const Span& span, At at)
{
    float red = 0, green = 0, blue = 0;
    for (std::size_t k = 0; k < span.weights.size(); ++k) {
        const Rgb p = at(span.first + static_cast<int>(k));
        red += span.weights[k] * p.red;
        green += span.weights[k] * p.green;
        blue += span.weights[k] * p.blue;
    }
    return {to_byte(red), to_byte(green), to_byte(blue)};
}

void append_bytes(void* context, void* data, int size)
{
    static_cast<std::string*>(context)->append(static_cast<const char*>(data),
                                               static_cast<std::size_t>(size));
}

}  // namespace

Raster scale(const Raster& picture, int width, int height)
{
    if (picture.width == width && picture.height == height)
        return picture;
    const std::vector<Span> columns = axis_spans(picture.width, width);
    Raster narrow(width, picture.height);
    for (int y = 0; y < picture.height; ++y)
        for (int x = 0; x < width; ++x)
            narrow.at(x, y) = blend(at(columns, x), [&](int k) { return picture.at(k, y); });
    const std::vector<Span> rows = axis_spans(picture.height, height);
    Raster result(width, height);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            result.at(x, y) = blend(at(rows, y), [&](int k) { return narrow.at(x, k); });
    return result;
}

double luminance(Rgb pixel)
{
    return (0.2126 * pixel.red + 0.7152 * pixel.green + 0.0722 * pixel.blue) / 255.0;
}

std::string encode_png(const Raster& picture)
{
    std::string bytes;
    stbi_write_png_to_func(append_bytes, &bytes, picture.width, picture.height, 3, picture.pixels.data(),
                           3 * picture.width);
    return bytes;
}

std::string encode_jpeg(const Raster& picture, int quality)
{
    std::string bytes;
    stbi_write_jpg_to_func(append_bytes, &bytes, picture.width, picture.height, 3, picture.pixels.data(),
                           quality);
    return bytes;
}

std::string base64(const std::string& bytes)
{
    static const char* const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const auto byte = [&](std::size_t k) {
            return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u;
        };
        const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
        text += letters[group >> 18 & 63];
        text += letters[group >> 12 & 63];
        text += i + 1 < bytes.size() ? letters[group >> 6 & 63] : '=';
        text += i + 2 < bytes.size() ? letters[group & 63] : '=';
    }
    return text;
}

}  // namespace pictor
