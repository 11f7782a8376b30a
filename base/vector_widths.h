// A portable binary carries an inner loop for several vector widths and picks one when it starts.
#pragma once

#include <cstdint>

namespace pictor {

// A vector register. Compilers find vectors in most inner loops, but not reliably in loops of one register's
// length, which g++ 12 unrolls into single numbers first.
template <std::int64_t n_lanes> struct Register {
    typedef float Lanes __attribute__((vector_size(n_lanes * sizeof(float))));
};

}  // namespace pictor

#if defined(PICTOR_PORTABLE) && defined(__x86_64__)
#define PICTOR_VECTOR_WIDTHS __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define PICTOR_VECTOR_WIDTHS
#endif
