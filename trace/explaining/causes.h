// Every cause that a comparison can name. A name that is not in this list does not compile; a name without a
// test of its own fails in tests/trace/explain_cause_test.cpp.
#pragma once

#include <algorithm>
#include <iterator>
#include <string_view>

namespace pictor {

inline constexpr std::string_view known_causes[] = {
    // what goes in
    "aspect_id_0",
    "bos_doubled",
    "chosen_token",
    "colour_order",
    "embedding_rows_plus_8",
    "image_id_of_tokenizer",
    "mean_and_std_swapped",
    "pad_after_normalise",
    "pixel_range",
    "pixels_not_normalised",
    "pixels_not_rescaled",
    "std_not_divided",
    "tie_order",
    // who may see what
    "absent_tiles_as_keys",
    "absent_tiles_hidden",
    "all_zero_bias_rows",
    "causal_cross_attention",
    "causal_mask_loose",
    "causal_mask_missing",
    "causal_mask_strict",
    "cross_mask_missing",
    "generated_tokens_with_several_images",
    "mask_by_absolute_position",
    "mask_inverted",
    "mask_not_used",
    "padding_masks_padding_only",
    "row_mask",
    "row_mask_shifted",
    "vision_mask_inverted",
    "vision_mask_missing",
    "vision_mask_of_rows_only",
    "vision_mask_of_tiles_only",
    // attention
    "attention_scale",
    "cross_keys_stale",
    "gqa_head_mapping",
    "heads_and_channels_swapped",
    "heads_reversed",
    "keys_as_values",
    "no_rope_on_cross_attention",
    "query_and_key_norms",
    "query_key_permutation",
    "softmax_plus_one",
    // RoPE
    "llama3_rope_scaling",
    "rope_direction",
    "rope_missing",
    "rope_pairs_halves",
    "rope_position",
    "rope_theta",
    // norms and linear layers
    "bias_missing",
    "embedding_scaled",
    "norm_eps",
    "norm_kind",
    "norm_missing",
    "norm_one_plus_weight",
    "norm_weight",
    "weight_transposed",
    // gates, sums and activations
    "branch_missing",
    "branch_sign",
    "branch_twice",
    "exact_gelu",
    "gate_and_up_swapped",
    "gate_missing",
    "gate_one_minus",
    "gate_one_plus",
    "gate_sigmoid",
    "gate_sign",
    "gate_tanh_twice",
    "gate_without_tanh",
    "gate_zero",
    "mlp_activation",
    "mlp_up_missing",
    "residual_after_norm",
    "residual_from_layer_input",
    "residual_missing",
    // tiles, patches and kept states
    "final_state_last",
    "first_tile_everywhere",
    "interleaved_concat",
    "kept_states_all_final",
    "kept_states_off_by_one",
    "one_minus_tanh",
    "rows_and_columns_swapped",
    "tile_embedding_missing",
    "tile_off_by_one",
    "tiles_high_before_wide",
    "tiles_reversed",
    // any tensor
    "factor",
    "layers_shifted",
    "nan_made",
    "rounded_to_16_bits",
    "step_skipped",
    "zero",
};

// A name out of that list, or none.
class CauseName {
public:
    constexpr CauseName() = default;
    consteval CauseName(const char* name) : name_(name)
    {
        if (!name_.empty() &&
            std::find(std::begin(known_causes), std::end(known_causes), name_) == std::end(known_causes))
            throw "not in known_causes";
    }
    constexpr bool empty() const { return name_.empty(); }
    constexpr std::string_view text() const { return name_; }
    friend constexpr bool operator==(CauseName, CauseName) = default;

private:
    std::string_view name_;
};

}  // namespace pictor
