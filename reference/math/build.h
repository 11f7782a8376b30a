// What the two builds do differently: the debug build runs the plain loops, which a reader can follow and the
// tests trust; the fast build runs the fast ones beside them.
#pragma once

namespace pictor {

#ifdef NDEBUG
inline constexpr bool use_plain_loops = false;
#else
inline constexpr bool use_plain_loops = true;
#endif

}  // namespace pictor

// A portable binary carries an inner loop for several vector widths and picks one when it starts.
#if defined(PICTOR_PORTABLE) && defined(__x86_64__)
#define PICTOR_VECTOR_WIDTHS __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define PICTOR_VECTOR_WIDTHS
#endif
