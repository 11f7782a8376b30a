// The segments of a JPEG file.
#pragma once

#include <filesystem>

#include "base/image_file.h"

namespace pictor {

// The same picture without comments and the notes of cameras. Follows the markers to the end mark and checks
// them: stb_image itself paints what is missing gray without a word, writes past its tables when a file
// declares more codes than there are bytes, and takes a minute for a picture sent in a thousand scans. Throws
// std::runtime_error: truncated, damaged, of absurd size.
Bytes read_jpeg_segments(const std::filesystem::path& file, const Bytes& bytes);

}  // namespace pictor
