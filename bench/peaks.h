// What the processor and the memory can do at most, and what `linear` reaches of it.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace pictor {

// Multiply-adds of `n_threads` threads that touch no memory, in GFLOP/s: the best of a quarter of a second.
double peak_multiply_add(int n_threads);

// Reading 512 MB from one end to the other with `n_threads` threads, in GB/s: the best of half a second.
double peak_read(int n_threads);

// {"multiply_add_1": GFLOP/s, "multiply_add_2": ..., "read_1": GB/s, "read_2": ...}
nlohmann::json measure_peaks();

// {"seconds": [...]} of linear at this shape, weights in "f32" or "bf16". The calls take turns at copies of
// the weight that together exceed the caches, as the layers of a model do.
nlohmann::json time_linear(std::int64_t n_rows, std::int64_t n_out, std::int64_t n_in,
                           const std::string& dtype, int repeat);

}  // namespace pictor
