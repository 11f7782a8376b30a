// Numbers as they lie in files, to float32 or 64-bit whole numbers.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/dtype.h"
#include "base/little_endian.h"
#include "base/small_floats.h"

namespace pictor {

// Bytes of a number of a type that safetensors names "F32", "F64", "F16", "BF16", "I64", "I32", "I8", "U8" or
// "BOOL"; 0 for any other.
std::int64_t stored_bytes(std::string_view type);

// `count` such numbers, from any address. Fractions and NaN have no meaning as whole numbers: ask for float.
void convert_numbers(std::string_view type, const void* bytes, std::int64_t count, float* values);
void convert_numbers(std::string_view type, const void* bytes, std::int64_t count, std::int64_t* values);

// `count` numbers of a weight, as float32.
inline void widen(DType dtype, const void* data, std::int64_t count, float* values)
{
    const char* bytes = static_cast<const char*>(data);
    if (dtype == DType::f32) {
        if (count > 0)
            std::memcpy(values, bytes, static_cast<std::size_t>(count) * sizeof(float));
    } else if (dtype == DType::bf16) {
        for (std::int64_t i = 0; i < count; ++i)
            values[i] = float_from_bf16(number_at<std::uint16_t>(bytes + 2 * i));
    } else {
        for (std::int64_t i = 0; i < count; ++i)
            values[i] = float_from_f16(number_at<std::uint16_t>(bytes + 2 * i));
    }
}

}  // namespace pictor
