// Tensors of a safetensors file in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "reference/math/tensor.h"

namespace pictor {

// The numbers of a tensor as float32, from F32, BF16 or F16; as whole numbers, from I64. A negative wanted
// extent matches any. Throw std::runtime_error when the tensor is missing or has another shape or dtype.
Tensor load_floats(const SafetensorsFile& file, const std::string& name, const Shape& wanted);
std::vector<std::int64_t> load_integers(const SafetensorsFile& file, const std::string& name,
                                        const Shape& wanted);

// The same for a tensor already found, whose dtype must be one that parse_dtype knows.
Tensor widen(const TensorInfo& info);

}  // namespace pictor
