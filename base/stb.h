// The one place that compiles stb_image and stb_image_write, and how: only the formats that are wanted, and
// only so much memory as a picture may need.
#pragma once

#include <cstddef>

#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>

namespace pictor {

// The most bytes that stb_image gets in one piece, from here on, in this thread: a small file that unpacks to
// gigabytes then fails as if memory had run out.
void limit_decoder_memory(std::size_t bytes);

}  // namespace pictor
