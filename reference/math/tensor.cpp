#include "reference/math/tensor.h"

#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

// 2^36 numbers are 256 GiB of float32: more than any step of the largest model needs, small enough that
// products of extents below it cannot overflow.
constexpr std::int64_t max_size = std::int64_t{1} << 36;

Tensor::Tensor(Shape extents) : shape(std::move(extents))
{
    std::int64_t size = 1;
    for (std::int64_t extent : shape) {
        if (extent < 0 || (extent > 0 && size > max_size / extent))
            throw std::runtime_error(
                fmt::format("tensor: a shape of {} is beyond what fits in memory", shape_text(shape)));
        size *= extent;
    }
    values.assign(static_cast<std::size_t>(size), 0.0f);
}

TensorView Tensor::view(Shape other) const
{
    std::int64_t other_size = 1;
    for (std::int64_t extent : other)
        other_size *= extent;
    if (other_size != size())
        throw std::logic_error(
            fmt::format("view: {} does not have the size of {}", shape_text(other), shape_text(shape)));
    return {values.data(), std::move(other)};
}

void require_shape(std::string_view who, const Tensor& tensor, const Shape& wanted)
{
    bool same = tensor.shape.size() == wanted.size();
    for (std::size_t axis = 0; same && axis < wanted.size(); ++axis)
        same = wanted[axis] < 0 || tensor.shape[axis] == wanted[axis];
    if (!same)
        throw std::runtime_error(fmt::format("{}: wanted a tensor of shape {}, got {}", who,
                                             shape_text(wanted), shape_text(tensor.shape)));
}

}  // namespace pictor
