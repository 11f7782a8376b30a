// Safetensors and .npy files are little-endian, and their numbers are used as they lie. Every reader and
// writer of numbers includes this, so that a machine of the other kind refuses to compile rather than compute
// nonsense.
#pragma once

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Pictor reads and writes numbers as they lie in its files: little-endian. This machine is not."
#endif

#include <cstring>

namespace pictor {

// A number at any address, even an odd one.
template <typename Number> Number number_at(const void* bytes)
{
    Number number;
    std::memcpy(&number, bytes, sizeof number);
    return number;
}

}  // namespace pictor
