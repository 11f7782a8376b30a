// y = x Wt + b: all the heavy work of the model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "reference/math/tensor.h"

namespace pictor {

// A weight matrix [out][in], row-major, where it lies: in a memory-mapped file, in the file's dtype.
struct Matrix {
    const void* data = nullptr;
    DType dtype = DType::f32;
    std::int64_t n_out = 0;
    std::int64_t n_in = 0;
    std::string name;  // for messages

    // Row `out` from column `first`, widened to float32 into row[count].
    void widen_row(std::int64_t out, std::int64_t first, std::int64_t count, float* row) const;
    void widen_row(std::int64_t out, float* row) const { widen_row(out, 0, n_in, row); }
};

// x [..., n_in] -> [..., n_out]; bias is empty or [n_out]. Leading axes are kept.
// Throws std::runtime_error when the last axis of x is not n_in.
Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias = {});

// The plain triple loop that defines it: what the debug build runs and what the tests trust.
Tensor linear_plain(const Tensor& x, const Matrix& weight, const Tensor& bias = {});

// The same result as linear_plain but for rounding; the fast build runs it.
Tensor linear_fast(const Tensor& x, const Matrix& weight, const Tensor& bias = {});

// A right-hand side laid out for the inner loop: outputs in panels of `width`, each panel [in][width],
// the last one padded with zeros. Vision attention packs a head's keys and values once and
// uses them for every query.
struct Panels {
    std::int64_t n_out = 0;
    std::int64_t n_in = 0;
    std::int64_t width = 0;
    std::vector<float> values;
};

// Element (out, in) is read from data[out * out_stride + in * in_stride]. A width of 0: what the
// registers hold.
Panels pack_panels(const float* data, std::int64_t n_out, std::int64_t n_in, std::int64_t out_stride,
                   std::int64_t in_stride, std::int64_t wanted_width = 0);

// y[row][out] = sum over in of x[row][in] * w(out, in). One thread. Rows of x and y stand x_stride and
// y_stride apart.
void multiply_panels(const float* x, std::int64_t n_rows, std::int64_t x_stride, const Panels& panels,
                     float* y, std::int64_t y_stride);

}  // namespace pictor
