// The 16-bit floats, as bit patterns.
#pragma once

#include <bit>
#include <cstdint>

namespace pictor {

inline float float_from_bf16(std::uint16_t bits)
{
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// The nearest BF16, of two as near the even one. Not for NaN.
inline std::uint16_t bf16_from_float(float value)
{
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// A weight as a float32, whichever of the two it is in the file: F32 or the bits of a BF16.
inline float widen_weight(float value) { return value; }
inline float widen_weight(std::uint16_t bf16) { return float_from_bf16(bf16); }

inline float float_from_f16(std::uint16_t bits)
{
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1f;
    const std::uint32_t mantissa = bits & 0x3ff;
    if (exponent == 0x1f)  // infinity or NaN
        return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
    if (exponent == 0) {  // zero or subnormal: mantissa x 2^-24, exact in float32
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

}  // namespace pictor
