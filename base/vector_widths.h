// A portable binary carries an inner loop for several vector widths and picks one when it starts.
#pragma once

#if defined(PICTOR_PORTABLE) && defined(__x86_64__)
#define PICTOR_VECTOR_WIDTHS __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define PICTOR_VECTOR_WIDTHS
#endif
