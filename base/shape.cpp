#include "base/shape.h"

#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pictor {

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::int64_t checked_size(const std::string& who, const Shape& shape)
{
    constexpr std::int64_t most = std::int64_t{1} << 40;
    std::int64_t size = 1;
    for (const std::int64_t extent : shape) {
        if (extent < 0 || (extent > 0 && size > most / extent))
            throw std::runtime_error(
                fmt::format("{}: shape: is {}; want extents of 0 or more, and at most 2^40 numbers in all",
                            who, shape_text(shape)));
        size *= extent;
    }
    return size;
}

}  // namespace pictor
