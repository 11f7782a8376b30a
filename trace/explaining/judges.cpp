#include "trace/explaining/judges.h"

#include <string_view>

#include "trace/explaining/steps.h"

namespace pictor {
namespace {

struct JudgedStep {
    std::string_view name;  // as in graph/operations.cpp
    unsigned where;
    Judge judge;
};

constexpr unsigned in_any = in_text | in_vision;

constexpr JudgedStep judged_steps[] = {
    {"input_ids", around_them, judge_input_ids},
    {"pixel_values", around_them, judge_pixels},
    {"aspect_ratio_ids", around_them, judge_aspect_ratio_ids},
    {"cross_attention_mask", around_them, judge_cross_mask},
    {"full_text_row_masked_out_mask", around_them, judge_row_mask},
    {"vision_model.patch_embedding", around_them, judge_linear},
    {"vision_model.pre_tile_positional_embedding", around_them, judge_tile_embedding},
    {"vision_model.gated_positional_embedding", around_them, judge_positions},
    {"vision_model.layernorm_pre", around_them, judge_norm},
    {"vision_model.layernorm_post", around_them, judge_norm},
    {"vision_model.post_tile_positional_embedding", around_them, judge_tile_embedding},
    {"vision_model", around_them, judge_kept_states},
    {"multi_modal_projector", around_them, judge_linear},
    {"language_model.embed_tokens", around_them, judge_embeddings},
    {"language_model.rotary_emb.cos", around_them, judge_angles},
    {"language_model.rotary_emb.sin", around_them, judge_angles},
    {"language_model.norm", around_them, judge_norm},
    {"lm_head", around_them, judge_linear},

    {"input_layernorm", in_any, judge_norm},
    {"self_attn.q_proj", in_any, judge_linear},
    {"self_attn.k_proj", in_any, judge_linear},
    {"self_attn.v_proj", in_any, judge_linear},
    {"self_attn.rotated_q", in_text_self, judge_rotated},
    {"self_attn.rotated_k", in_text_self, judge_rotated},
    {"self_attn.scores", in_any, judge_scores},
    {"self_attn.masked_scores", in_any, judge_masked_scores},
    {"self_attn.probs", in_any, judge_probs},
    {"self_attn.context", in_any, judge_context},
    {"self_attn.o_proj", in_any, judge_linear},
    {"self_attn.gated", in_vision_global, judge_gated_branch},
    {"cross_attn.q_proj", in_text_cross, judge_linear},
    {"cross_attn.q_norm", in_text_cross, judge_norm},
    {"cross_attn.k_proj", in_text_cross, judge_linear},
    {"cross_attn.k_norm", in_text_cross, judge_norm},
    {"cross_attn.v_proj", in_text_cross, judge_linear},
    {"cross_attn.scores", in_text_cross, judge_scores},
    {"cross_attn.masked_scores", in_text_cross, judge_masked_scores},
    {"cross_attn.probs", in_text_cross, judge_probs},
    {"cross_attn.context", in_text_cross, judge_context},
    {"cross_attn.o_proj", in_text_cross, judge_linear},
    {"cross_attn.gated", in_text_cross, judge_gated_branch},
    {"residual", in_any, judge_sum},
    {"post_attention_layernorm", in_any, judge_norm},
    {"mlp.fc1", in_vision, judge_linear},
    {"mlp.activation_fn", in_vision, judge_activation},
    {"mlp.gate_proj", in_text, judge_linear},
    {"mlp.up_proj", in_text, judge_linear},
    {"mlp.act_fn", in_text, judge_activation},
    {"mlp.gated", in_text, judge_mlp_product},
    {"mlp.gated", in_vision_global, judge_gated_branch},
    {"mlp", in_any, judge_linear},
    {"mlp.gated_output", in_text_cross, judge_gated_output},
    {"", in_any, judge_sum},
};

}  // namespace

Judge judge_of(const Operation& operation)
{
    for (const JudgedStep& step : judged_steps)
        if ((step.where & operation.where) == operation.where && step.name == operation.name)
            return step.judge;
    return nullptr;
}

Judgement judge_step(const Pair& pair)
{
    const Operation* operation = pair.b.operation_of(pair.name);
    const Judge judge = operation ? judge_of(*operation) : nullptr;
    if (judge)
        return judge(pair, split_name(pair.name));
    Judgement judgement;
    judgement.text = "no step of this model";
    return judgement;
}

}  // namespace pictor
