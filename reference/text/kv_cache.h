// What earlier tokens and the images leave behind for later tokens: keys and values.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/math/tensor.h"

namespace pictor {

// Keys or values of one layer, one growing list of rows per kv head, so that a head's rows lie side by side.
struct HeadRows {
    std::int64_t d_head = 0;
    std::vector<std::vector<float>> heads;  // [n_kv_heads][n_rows * d_head]

    bool empty() const { return heads.empty(); }
    std::int64_t n_rows() const { return heads.empty() ? 0 : std::ssize(heads[0]) / d_head; }
    const float* row(std::int64_t head, std::int64_t index) const
    {
        return at(heads, head).data() + index * d_head;
    }

    // Adds rows [n][n_kv_heads][d_head] after those that are there.
    void append(const Tensor& rows);
};

struct KeysAndValues {
    HeadRows keys, values;
};

// One entry per layer: the sequence so far in self-attention layers, the images in cross-attention layers.
struct KvCache {
    std::vector<KeysAndValues> layers;
    std::int64_t n_tokens = 0;  // positions already filled
};

}  // namespace pictor
