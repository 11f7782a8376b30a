// The extents of a tensor's axes, and numbers under such extents that somebody else owns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pictor {

using Shape = std::vector<std::int64_t>;

std::string shape_text(const Shape& shape);  // "[2, 3]"

// Product of the extents; throws "WHO: ..." when one is negative or the product is absurd (over 2^40).
std::int64_t checked_size(const std::string& who, const Shape& shape);

// Numbers in row-major order that somebody else owns.
struct TensorView {
    const float* values = nullptr;
    Shape shape;
};

}  // namespace pictor
