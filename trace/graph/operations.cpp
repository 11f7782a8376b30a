#include "trace/graph/operations.h"

namespace pictor {
namespace {

StepInput leaf(const char* name, Role role = Role::flow) { return {From::layer, name, role}; }
StepInput model(const char* name, Role role = Role::flow) { return {From::model, name, role}; }
StepInput before(Role role = Role::flow) { return {From::before, "", role}; }

// Axes of the states.
constexpr const char *tokens = "token channel", *patches = "image tile patch channel",
                     *token_heads = "token head channel", *token_kv_heads = "token kv_head channel",
                     *key_kv_heads = "key kv_head channel", *token_keys = "head token key",
                     *patch_heads = "image tile patch head channel", *query_keys = "image head query key";

// UTF-8 for the drawings.
constexpr const char *scores_title = "scores Q\xC2\xB7K", *context_title = "probabilities \xC3\x97 V",
                     *gate_title = "\xC3\x97 tanh(gate)";

// The tables keep their rows together: name, where, title, colour, axes, chapter, inputs, whether a state.
// clang-format off
std::vector<Operation> inputs_of_the_run()
{
    const unsigned where = around_them;
    return {
        {"input_ids", where, "token ids", "data", "token", "02-tokenizer", {}},
        {"pixel_values", where, "pixels", "data", "image tile colour row column", "08-tiles", {}, true},
        {"aspect_ratio_ids", where, "tile grid", "data", "image", "08-tiles", {}},
        {"cross_attention_mask", where, "which tiles each token may see", "data", "token image tile",
         "14-cross-attention", {}},
        {"full_text_row_masked_out_mask", where, "rows that see any tile", "data", "token",
         "14-cross-attention", {model("cross_attention_mask", Role::mask)}},
    };
}

std::vector<Operation> before_the_vision_layers()
{
    const unsigned where = around_them;
    return {
        {"vision_model.patch_embedding", where, "patch embedding", "embedding", patches, "09-patch-embedding",
         {model("pixel_values")}, true},
        {"vision_model.pre_tile_positional_embedding", where, "+ tile embedding", "embedding", patches,
         "10-positions", {model("vision_model.patch_embedding"), model("aspect_ratio_ids", Role::ids)}},
        {"vision_model.gated_positional_embedding", where, "+ positions", "embedding", patches,
         "10-positions",
         {model("vision_model.pre_tile_positional_embedding"), model("aspect_ratio_ids", Role::ids)}},
        {"vision_model.layernorm_pre", where, "LayerNorm", "norm", patches, "12-encoder",
         {model("vision_model.gated_positional_embedding")}, true},
    };
}

std::vector<Operation> vision_layers()
{
    const unsigned all = in_vision, local = in_vision_local, global = in_vision_global;
    const char *const encoder = "12-encoder", *const attention = "11-vision-attention";
    return {
        {"input_layernorm", all, "LayerNorm", "norm", patches, encoder, {before()}},
        {"self_attn.q_proj", all, "Q projection", "local", patch_heads, attention, {leaf("input_layernorm")}},
        {"self_attn.k_proj", all, "K projection", "local", patch_heads, attention, {leaf("input_layernorm")}},
        {"self_attn.v_proj", all, "V projection", "local", patch_heads, attention, {leaf("input_layernorm")}},
        {"self_attn.scores", all, scores_title, "local", query_keys, attention,
         {leaf("self_attn.q_proj"), leaf("self_attn.k_proj")}},
        {"self_attn.masked_scores", all, "mask where both are padding", "local", query_keys, attention,
         {leaf("self_attn.scores"), model("aspect_ratio_ids", Role::ids)}},
        {"self_attn.probs", all, "softmax", "local", query_keys, attention,
         {leaf("self_attn.masked_scores")}},
        {"self_attn.context", all, context_title, "local", patch_heads, attention,
         {leaf("self_attn.probs"), leaf("self_attn.v_proj")}},
        {"self_attn.o_proj", all, "output projection", "local", patches, attention,
         {leaf("self_attn.context")}},
        {"self_attn.gated", global, gate_title, "global", patches, encoder, {leaf("self_attn.o_proj")}},
        {"residual", local, "add residual", "data", patches, encoder,
         {before(Role::residual), leaf("self_attn.o_proj")}},
        {"residual", global, "add residual", "data", patches, encoder,
         {before(Role::residual), leaf("self_attn.gated")}},
        {"post_attention_layernorm", all, "LayerNorm", "norm", patches, encoder, {leaf("residual")}},
        {"mlp.fc1", all, "fc1", "head", patches, encoder, {leaf("post_attention_layernorm")}},
        {"mlp.activation_fn", all, "GELU", "head", patches, encoder, {leaf("mlp.fc1")}},
        {"mlp", all, "fc2", "head", patches, encoder, {leaf("mlp.activation_fn")}},
        {"mlp.gated", global, gate_title, "global", patches, encoder, {leaf("mlp")}},
        {"", local, "layer", "local", patches, encoder,
         {leaf("residual", Role::residual), leaf("mlp")}, true},
        {"", global, "layer", "global", patches, encoder,
         {leaf("residual", Role::residual), leaf("mlp.gated")}, true},
    };
}

std::vector<Operation> behind_the_vision_layers()
{
    const unsigned where = around_them;
    return {
        {"vision_model.layernorm_post", where, "LayerNorm", "norm", patches, "12-encoder",
         {{From::last_local, ""}},
         true},
        {"vision_model.post_tile_positional_embedding", where, "+ tile embedding", "embedding", patches,
         "10-positions", {model("vision_model.layernorm_post"), model("aspect_ratio_ids", Role::ids)}, true},
        {"vision_model", where, "final and kept states", "global", patches, "12-encoder",
         {{From::last_global, ""}, {From::kept, ""}},
         true},
        {"multi_modal_projector", where, "projector", "projector", patches, "13-projector",
         {model("vision_model")}, true},
        {"language_model.embed_tokens", where, "token embedding", "embedding", tokens, "03-token-embedding",
         {model("input_ids")}, true},
        {"language_model.rotary_emb.cos", where, "cosines of the angles", "norm", tokens, "05-rope", {}},
        {"language_model.rotary_emb.sin", where, "sines of the angles", "norm", tokens, "05-rope", {}},
    };
}

std::vector<Operation> self_attention()
{
    const unsigned where = in_text_self;
    const char *const stem = "06-self-attention", *const cos = "language_model.rotary_emb.cos",
                      *const sin = "language_model.rotary_emb.sin";
    return {
        {"self_attn.q_proj", where, "Q projection", "self", token_heads, stem, {leaf("input_layernorm")}},
        {"self_attn.k_proj", where, "K projection", "self", token_kv_heads, stem, {leaf("input_layernorm")}},
        {"self_attn.v_proj", where, "V projection", "self", token_kv_heads, stem, {leaf("input_layernorm")}},
        {"self_attn.rotated_q", where, "RoPE on Q", "norm", token_heads, "05-rope",
         {leaf("self_attn.q_proj"), model(cos, Role::rope), model(sin, Role::rope)}},
        {"self_attn.rotated_k", where, "RoPE on K", "norm", token_kv_heads, "05-rope",
         {leaf("self_attn.k_proj"), model(cos, Role::rope), model(sin, Role::rope)}},
        {"self_attn.scores", where, scores_title, "self", token_keys, stem,
         {leaf("self_attn.rotated_q"), leaf("self_attn.rotated_k")}},
        {"self_attn.masked_scores", where, "causal mask", "self", token_keys, stem,
         {leaf("self_attn.scores")}},
        {"self_attn.probs", where, "softmax", "self", token_keys, stem, {leaf("self_attn.masked_scores")}},
        {"self_attn.context", where, context_title, "self", token_heads, stem,
         {leaf("self_attn.probs"), leaf("self_attn.v_proj")}},
        {"self_attn.o_proj", where, "output projection", "self", tokens, stem, {leaf("self_attn.context")}},
    };
}

std::vector<Operation> cross_attention()
{
    const unsigned where = in_text_cross;
    const char* const stem = "14-cross-attention";
    const StepInput image = model("multi_modal_projector", Role::image);
    return {
        {"cross_attn.q_proj", where, "Q projection", "cross", token_heads, stem, {leaf("input_layernorm")}},
        {"cross_attn.q_norm", where, "RMSNorm of Q, per head", "norm", token_heads, stem,
         {leaf("cross_attn.q_proj")}},
        {"cross_attn.k_proj", where, "K of the image", "projector", key_kv_heads, stem, {image}},
        {"cross_attn.k_norm", where, "RMSNorm of K, per head", "norm", key_kv_heads, stem,
         {leaf("cross_attn.k_proj", Role::image)}},
        {"cross_attn.v_proj", where, "V of the image", "projector", key_kv_heads, stem, {image}},
        {"cross_attn.scores", where, scores_title, "cross", token_keys, stem,
         {leaf("cross_attn.q_norm"), leaf("cross_attn.k_norm", Role::image)}},
        {"cross_attn.masked_scores", where, "mask of images and tiles", "cross", token_keys, stem,
         {leaf("cross_attn.scores"), model("cross_attention_mask", Role::mask)}},
        {"cross_attn.probs", where, "softmax", "cross", token_keys, stem, {leaf("cross_attn.masked_scores")}},
        {"cross_attn.context", where, context_title, "cross", token_heads, stem,
         {leaf("cross_attn.probs"), leaf("cross_attn.v_proj", Role::image)}},
        {"cross_attn.o_proj", where, "output projection", "cross", tokens, stem,
         {leaf("cross_attn.context"), model("full_text_row_masked_out_mask", Role::mask)}},
        {"cross_attn.gated", where, gate_title, "cross", tokens, stem, {leaf("cross_attn.o_proj")}},
    };
}

std::vector<Operation> text_mlp_and_sums()
{
    const unsigned all = in_text, self = in_text_self, cross = in_text_cross;
    const char *const norm = "04-rms-norm", *const mlp = "07-text-mlp", *const sum = "15-decoder";
    return {
        {"residual", self, "add residual", "data", tokens, sum,
         {before(Role::residual), leaf("self_attn.o_proj")}},
        {"residual", cross, "add residual", "data", tokens, sum,
         {before(Role::residual), leaf("cross_attn.gated")}},
        {"post_attention_layernorm", all, "RMSNorm", "norm", tokens, norm, {leaf("residual")}},
        {"mlp.gate_proj", all, "gate projection", "head", tokens, mlp, {leaf("post_attention_layernorm")}},
        {"mlp.up_proj", all, "up projection", "head", tokens, mlp, {leaf("post_attention_layernorm")}},
        {"mlp.act_fn", all, "SiLU", "head", tokens, mlp, {leaf("mlp.gate_proj")}},
        {"mlp.gated", all, "gate \xC3\x97 up", "head", tokens, mlp,
         {leaf("mlp.act_fn"), leaf("mlp.up_proj")}},
        {"mlp", all, "down projection", "head", tokens, mlp, {leaf("mlp.gated")}},
        {"mlp.gated_output", cross, "row mask, \xC3\x97 tanh(gate)", "head", tokens, "14-cross-attention",
         {leaf("mlp"), model("full_text_row_masked_out_mask", Role::mask)}},
        {"", self, "layer", "self", tokens, sum, {leaf("residual", Role::residual), leaf("mlp")}, true},
        {"", cross, "layer", "cross", tokens, sum,
         {leaf("residual", Role::residual), leaf("mlp.gated_output")}, true},
    };
}
// clang-format on

std::vector<Operation> all_operations()
{
    std::vector<Operation> all;
    const auto add = [&](const std::vector<Operation>& part) {
        all.insert(all.end(), part.begin(), part.end());
    };
    add(inputs_of_the_run());
    add(before_the_vision_layers());
    add(vision_layers());
    add(behind_the_vision_layers());
    add({{"input_layernorm", in_text, "RMSNorm", "norm", tokens, "04-rms-norm", {before()}}});
    add(self_attention());
    add(cross_attention());
    add(text_mlp_and_sums());
    add({{"language_model.norm",
          around_them,
          "RMSNorm",
          "norm",
          tokens,
          "04-rms-norm",
          {{From::last_text, ""}},
          true},
         {"lm_head",
          around_them,
          "LM head",
          "head",
          "token vocabulary",
          "16-lm-head",
          {model("language_model.norm")},
          true}});
    return all;
}

}  // namespace

const std::vector<Operation>& operations()
{
    static const std::vector<Operation> all = all_operations();
    return all;
}

}  // namespace pictor
