// y = x Wt + b: all the heavy work of the model.
#pragma once

#include <cstdint>
#include <string>

#include "reference/math/tensor.h"

namespace pictor {

enum class DType { f32, bf16, f16 };

// A weight matrix [out][in] where it lies: in a memory-mapped file, in the file's dtype. Row-major, no padding.
struct Matrix {
    const void* data = nullptr;
    DType dtype = DType::f32;
    std::int64_t n_out = 0;
    std::int64_t n_in = 0;
    std::string name;  // for messages

    // Row `out` widened to float32 into row[n_in].
    void widen_row(std::int64_t out, float* row) const;
};

// x [..., n_in] -> [..., n_out]; bias is empty or [n_out]. Leading axes are kept.
// Throws std::runtime_error when the last axis of x is not n_in.
Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias = {});

// The plain triple loop that defines it; the debug build runs it and the tests trust it.
Tensor linear_plain(const Tensor& x, const Matrix& weight, const Tensor& bias = {});

}  // namespace pictor
