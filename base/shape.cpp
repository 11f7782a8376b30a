#include "base/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace pictor {

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace pictor
