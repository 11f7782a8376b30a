// A tensor: numbers in row-major order and the extent of each axis. Nothing else.
#pragma once

#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/at.h"
#include "base/shape.h"

namespace pictor {

struct Tensor {
    Shape shape;
    std::vector<float> values;

    Tensor() = default;
    explicit Tensor(Shape extents);  // zeros; throws std::runtime_error when the size is negative or absurd

    std::int64_t extent(std::int64_t axis) const { return at(shape, axis); }
    std::int64_t size() const { return std::ssize(values); }
    bool empty() const { return values.empty(); }

    float* data() { return values.data(); }
    const float* data() const { return values.data(); }

    // The numbers that start at these indices of the first axes.
    float* row(std::int64_t i) { return values.data() + offset({i}); }
    const float* row(std::int64_t i) const { return values.data() + offset({i}); }
    float* row(std::int64_t i, std::int64_t j) { return values.data() + offset({i, j}); }
    const float* row(std::int64_t i, std::int64_t j) const { return values.data() + offset({i, j}); }
    float* row(std::int64_t i, std::int64_t j, std::int64_t k) { return values.data() + offset({i, j, k}); }
    const float* row(std::int64_t i, std::int64_t j, std::int64_t k) const
    {
        return values.data() + offset({i, j, k});
    }

    // One number.
    float& operator()(std::int64_t i) { return *row(i); }
    float operator()(std::int64_t i) const { return *row(i); }
    float& operator()(std::int64_t i, std::int64_t j) { return *row(i, j); }
    float operator()(std::int64_t i, std::int64_t j) const { return *row(i, j); }
    float& operator()(std::int64_t i, std::int64_t j, std::int64_t k) { return *row(i, j, k); }
    float operator()(std::int64_t i, std::int64_t j, std::int64_t k) const { return *row(i, j, k); }
    float& operator()(std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t l)
    {
        return values.data()[offset({i, j, k, l})];
    }
    float operator()(std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t l) const
    {
        return values.data()[offset({i, j, k, l})];
    }

    // The same numbers for the recorder, under this shape or another of the same size.
    TensorView view() const { return {values.data(), shape}; }
    TensorView view(Shape other) const;

private:
    // Position of the first number at these leading indices; the debug build checks every index.
    std::int64_t offset(std::initializer_list<std::int64_t> indices) const
    {
        // Through pointers, because every number that the plain loops touch comes through here.
        const std::int64_t* extent = shape.data();
        const std::int64_t* end = extent + shape.size();
        std::int64_t position = 0;
        for (std::int64_t index : indices) {
            assert(extent != end && index >= 0 && index < *extent);
            position = position * *extent++ + index;
        }
        for (; extent != end; ++extent)
            position *= *extent;
        return position;
    }
};

// The same numbers under another shape of the same size.
Tensor reshaped(Tensor tensor, Shape shape);

// Throws std::runtime_error "WHO: wanted [a, b], got [c, d]". A negative wanted extent matches any.
void require_shape(std::string_view who, const Tensor& tensor, const Shape& wanted);

}  // namespace pictor
