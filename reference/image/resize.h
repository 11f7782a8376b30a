// Images of any size become images of a wanted size: bilinear, with antialiasing when they shrink.
#pragma once

#include <cstdint>

#include "base/image_decode.h"

namespace pictor {

// The same bytes as Image.resize((width, height), BILINEAR) of Pillow 13. Throws std::runtime_error when a
// side is not positive or the image's bytes do not fit its size.
Image resize_bilinear(const Image& image, std::int64_t height, std::int64_t width);

}  // namespace pictor
