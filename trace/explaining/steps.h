// The steps of the model, one subject per file. Each function judges one recorded tensor: does each trace
// compute it from its own inputs by the references' rule, or by which of the known mistakes?
#pragma once

#include "trace/explaining/rules.h"

namespace pictor {

// masks.cpp
Judgement judge_masked_scores(const Pair& pair, const NameParts& parts);

// attention.cpp
Judgement judge_scores(const Pair& pair, const NameParts& parts);
Judgement judge_probs(const Pair& pair, const NameParts& parts);
Judgement judge_context(const Pair& pair, const NameParts& parts);

// rope.cpp
Judgement judge_angles(const Pair& pair, const NameParts& parts);   // rotary_emb.cos and .sin
Judgement judge_rotated(const Pair& pair, const NameParts& parts);  // rotated_q, rotated_k
double rope_frequency(const ModelFacts& facts, std::int64_t pair, std::int64_t d_head);  // radians a position
Predicted rotate_halves(const Numbers& x, const Numbers& cos, const Numbers& sin);

// norms.cpp
Judgement judge_norm(const Pair& pair, const NameParts& parts);  // RMSNorm, LayerNorm, q_norm, k_norm, norm

// branches.cpp
Judgement judge_gated_branch(const Pair& pair, const NameParts& parts);  // tanh(gate) x branch
Judgement judge_gated_output(const Pair& pair, const NameParts& parts);  // the same behind the row mask
Judgement judge_sum(const Pair& pair, const NameParts& parts);           // residual, and a layer's output
Judgement judge_activation(const Pair& pair, const NameParts& parts);    // act_fn, activation_fn
Judgement judge_mlp_product(const Pair& pair, const NameParts& parts);   // act_fn x up_proj

// positions.cpp
Judgement judge_tile_embedding(const Pair& pair, const NameParts& parts);  // pre_tile_..., post_tile_...
Judgement judge_positions(const Pair& pair, const NameParts& parts);       // gated_positional_embedding

// kept_states.cpp
Judgement judge_kept_states(const Pair& pair, const NameParts& parts);  // vision_model

// pixels.cpp
Judgement judge_pixels(const Pair& pair, const NameParts& parts);

// inputs.cpp
Judgement judge_input_ids(const Pair& pair, const NameParts& parts);
Judgement judge_aspect_ratio_ids(const Pair& pair, const NameParts& parts);
Judgement judge_cross_mask(const Pair& pair, const NameParts& parts);
Judgement judge_row_mask(const Pair& pair, const NameParts& parts);
Judgement judge_embeddings(const Pair& pair, const NameParts& parts);

// linear.cpp
Judgement judge_linear(const Pair& pair, const NameParts& parts);

// The states of a layer's rows with each tile filled up with zero rows to the shape's rows per tile.
Numbers filled_up(const Numbers& x, const std::vector<std::int64_t>& shape);

// tanh of the checkpoint's gate in front of this tensor; nothing where there is no checkpoint, or no such
// gate in it.
std::optional<double> checkpoint_gate(const Side& side, const NameParts& parts);

// 1 where the row of a text step may see some tile; empty: not recorded.
std::vector<char> rows_that_see(const Side& side);

}  // namespace pictor
