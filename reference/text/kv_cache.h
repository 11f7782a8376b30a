// What earlier tokens and pictures leave behind for later tokens: keys and values.
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
    std::int64_t n_rows() const
    {
        return heads.empty() ? 0 : static_cast<std::int64_t>(heads[0].size()) / d_head;
    }
    const float* row(std::int64_t head, std::int64_t index) const
    {
        return heads[static_cast<std::size_t>(head)].data() + index * d_head;
    }

    // Adds rows [n][n_kv_heads * d_head] behind the present ones.
    void append(const Tensor& rows, std::int64_t n_kv_heads);
};

struct KeysAndValues {
    HeadRows keys, values;
};

// One entry per layer: the sentence so far in self-attention layers, the pictures in cross-attention layers.
struct KvCache {
    std::vector<KeysAndValues> layers;
    std::int64_t n_tokens = 0;  // positions already filled
};

}  // namespace pictor
