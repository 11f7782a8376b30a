// Rotary position embedding: turns pairs of channels of Q and K by an angle that grows with the position.
#pragma once

#include "reference/checkpoint/config.h"
#include "reference/math/tensor.h"

namespace pictor {

// cos and sin of every angle, [n_tokens][d_head]; the second half of the channels repeats the first.
struct RopeAngles {
    Tensor cos, sin;
};

// By how much each channel pair turns from one token to the next, in radians, [d_head / 2]; with
// config.scaled by the llama3 rule.
std::vector<float> rope_frequencies(const RopeConfig& config, std::int64_t d_head);

// Angles of the tokens at positions first_position ... first_position + n_tokens - 1.
RopeAngles rope_angles(const RopeConfig& config, std::int64_t d_head, std::int64_t first_position,
                       std::int64_t n_tokens);

// x [n_tokens][n_heads][d_head] -> the same shape, every head turned.
// Follows transformers' apply_rotary_pos_emb: channel i is paired with channel i + d_head / 2.
Tensor rotate(const Tensor& x, const RopeAngles& angles);

}  // namespace pictor
