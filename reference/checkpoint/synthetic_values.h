// Parameters of a model that nobody trained: every name and shape, and numbers made from nothing but the
// tensor's name and each number's index. golden/synthetic_values.py makes the same ones in numpy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/shape.h"
#include "reference/checkpoint/config.h"

namespace pictor {

// How the numbers of a tensor are spread: evenly over [mean - reach, mean + reach). The reach is a power of
// two, so reach * random is exact, and every compiler rounds mean + reach * random to the same float32.
struct Spread {
    float mean = 0;
    float reach = 0;
};

// Norms near 1, gates between 1/4 and 3/4, biases below 1/16, tables of embeddings below 1/2 or 1; a matrix
// so that its output is about as large as its input.
Spread spread_of(const std::string& name, const Shape& shape);

// Numbers first ... first + count - 1 of the tensor, in row-major order.
void synthetic_values(const std::string& name, const Spread& spread, std::int64_t first, std::int64_t count,
                      float* values);

struct SyntheticParameter {
    std::string name;  // as the hub's files have it
    Shape shape;
    // Of a table of tile embeddings, how many numbers a tile has. Its rows are not hashed by their own index:
    // tile (y, x) has the same numbers for every aspect ratio and absent tiles have zeros, which is what
    // Meta's layout can hold.
    std::int64_t tile_width = 0;
};

// Every parameter that weights.cpp looks for, in the order of computation.
std::vector<SyntheticParameter> synthetic_parameters(const ModelConfig& config);

// A whole table of tile embeddings, [aspect ratio id][tile][width].
std::vector<float> synthetic_tile_table(const SyntheticParameter& table, const VisionConfig& config);

}  // namespace pictor
