// The steps from the plain linear layer to the fast one, each timed on the same numbers. Chapter 21.
#pragma once

#include <cstdint>

namespace pictor {

// Prints a line for each step: the best of at least `repeat` runs and two seconds, in milliseconds and in
// GFLOP/s, and how far the result is from the plain loop's. Returns 1 when a step's result is not the plain
// loop's but for rounding.
int print_linear_steps(std::int64_t n_rows, std::int64_t n_out, std::int64_t n_in, int repeat);

}  // namespace pictor
