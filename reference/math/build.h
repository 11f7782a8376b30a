// What the two builds do differently: the debug build runs the plain loops, which a reader can follow and the
// tests trust; the fast build runs the fast ones beside them.
#pragma once

#include "base/vector_widths.h"

namespace pictor {

#ifdef NDEBUG
inline constexpr bool use_plain_loops = false;
#else
inline constexpr bool use_plain_loops = true;
#endif

}  // namespace pictor
