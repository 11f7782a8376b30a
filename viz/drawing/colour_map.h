// Colours for numbers. Made from OKLab, where equal steps look equal, so that a map's order survives
// grayscale print and colour blindness: lightness alone carries the value.
#pragma once

#include <array>
#include <string>

#include "viz/drawing/raster.h"

namespace pictor {

// 0..1 -> dark violet over red to pale yellow. Lightness rises in a straight line. NaN is mid gray.
Rgb heat_colour(double value);

// -1..1 -> blue over near white to orange; both arms equally light at equal distance. For differences.
Rgb difference_colour(double value);

// The parts of a ledger, in its order: picture, padding, absent tiles, class tokens, other pictures, padding
// rows. All differ in lightness.
extern const std::array<const char*, 6> ledger_colours;

std::string hex(Rgb colour);  // "#rrggbb"

// colour over ground; opacity 0..1.
Rgb mix(Rgb ground, Rgb colour, double opacity);

// OKLab lightness of a colour, 0..1.
double perceived_lightness(Rgb colour);

}  // namespace pictor
