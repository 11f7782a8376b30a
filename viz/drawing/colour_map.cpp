#include "viz/drawing/colour_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include <fmt/format.h>

#include "base/at.h"

namespace pictor {

const std::array<const char*, 6> ledger_colours{"#e36927", "#666c78", "#ced4e2",
                                                "#274387", "#8fc184", "#292333"};

namespace {

// OKLab -> linear sRGB (Ottosson, 2020).
std::array<double, 3> linear_rgb(double lightness, double a, double b)
{
    const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
            -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
            -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

bool displayable(const std::array<double, 3>& rgb)
{
    return std::all_of(rgb.begin(), rgb.end(), [](double v) { return v >= -1e-6 && v <= 1 + 1e-6; });
}

std::uint8_t encode(double linear)
{
    linear = std::clamp(linear, 0.0, 1.0);
    const double value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
    return static_cast<std::uint8_t>(std::lround(255 * value));
}

double decode(std::uint8_t byte)
{
    const double value = byte / 255.0;
    return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
}

// Lightness and hue are kept; chroma gives way where the screen cannot show it.
Rgb from_lch(double lightness, double chroma, double hue_degrees)
{
    const double angle = hue_degrees * std::numbers::pi / 180;
    std::array<double, 3> rgb{};
    for (; chroma >= 0; chroma -= 0.002) {
        rgb = linear_rgb(lightness, chroma * std::cos(angle), chroma * std::sin(angle));
        if (displayable(rgb))
            break;
    }
    return {encode(rgb[0]), encode(rgb[1]), encode(rgb[2])};
}

constexpr int n_steps = 512;

std::vector<Rgb> heat_table()
{
    std::vector<Rgb> table;
    for (int i = 0; i < n_steps; ++i) {
        const double t = i / (n_steps - 1.0);
        const double hue = -75 + 180 * t;  // violet, red, orange, yellow
        const double chroma = 0.05 + 0.15 * std::sin(std::numbers::pi * std::pow(t, 0.9));
        table.push_back(from_lch(0.16 + 0.81 * t, chroma, hue));
    }
    return table;
}

std::vector<Rgb> difference_table()
{
    std::vector<Rgb> table;
    for (int i = 0; i < n_steps; ++i) {
        const double t = 2 * i / (n_steps - 1.0) - 1;
        table.push_back(from_lch(0.97 - 0.50 * std::abs(t), 0.17 * std::abs(t), t < 0 ? 255 : 48));
    }
    return table;
}

Rgb look_up(const std::vector<Rgb>& table, double t)
{
    if (std::isnan(t))
        return {128, 128, 128};
    return at(table, std::lround(std::clamp(t, 0.0, 1.0) * (n_steps - 1)));
}

}  // namespace

Rgb heat_colour(double value)
{
    static const std::vector<Rgb> table = heat_table();
    return look_up(table, value);
}

Rgb difference_colour(double value)
{
    static const std::vector<Rgb> table = difference_table();
    return look_up(table, (value + 1) / 2);
}

std::string hex(Rgb colour)
{
    return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

Rgb mix(Rgb ground, Rgb colour, double opacity)
{
    const auto channel = [opacity](int below, int above) {
        return static_cast<std::uint8_t>(std::lround(below + (above - below) * opacity));
    };
    return {channel(ground.red, colour.red), channel(ground.green, colour.green),
            channel(ground.blue, colour.blue)};
}

double perceived_lightness(Rgb colour)
{
    const double r = decode(colour.red), g = decode(colour.green), b = decode(colour.blue);
    const double l = std::cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
    const double m = std::cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
    const double s = std::cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
    return 0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s;
}

}  // namespace pictor
