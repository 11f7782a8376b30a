#include "reference/math/tensor.h"

#include <stdexcept>

#include <fmt/format.h>

namespace pictor {

namespace {

// 2^36 numbers are 256 GiB of float32: more than any step of the largest model needs, small enough that
// products of extents below it cannot overflow.
constexpr std::int64_t max_size = std::int64_t{1} << 36;

std::int64_t size_of(const Shape& shape)
{
    std::int64_t size = 1;
    for (std::int64_t extent : shape)
        size *= extent;
    return size;
}

void require_same_size(const Shape& present, const Shape& wanted)
{
    if (size_of(present) != size_of(wanted))
        throw std::logic_error(fmt::format("a tensor of shape {} cannot be read as one of shape {}",
                                           shape_text(present), shape_text(wanted)));
}

}  // namespace

Tensor::Tensor(Shape extents) : shape(std::move(extents))
{
    std::int64_t size = 1;
    for (std::int64_t extent : shape) {
        if (extent < 0 || (extent > 0 && size > max_size / extent))
            throw std::runtime_error(
                fmt::format("tensor: shape {} is more than fits in memory", shape_text(shape)));
        size *= extent;
    }
    values.assign(static_cast<std::size_t>(size), 0.0f);
}

TensorView Tensor::view(Shape other) const
{
    require_same_size(shape, other);
    return {values.data(), std::move(other)};
}

Tensor reshaped(Tensor tensor, Shape shape)
{
    require_same_size(tensor.shape, shape);
    tensor.shape = std::move(shape);
    return tensor;
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
