// What a file that is no PNG, JPEG, BMP or GIF holds instead.
#pragma once

#include <string_view>

#include "base/image_file.h"

namespace pictor {

// "a WEBP picture", "a PDF document", "a web page"; empty when its first bytes tell nothing.
std::string_view known_file_kind(const Bytes& bytes);

}  // namespace pictor
