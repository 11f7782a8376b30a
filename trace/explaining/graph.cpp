// Which recorded tensors a recorded tensor is computed from.
#include <algorithm>

#include <fmt/format.h>

#include "trace/explaining/steps.h"

namespace pictor {
namespace {

std::string state_before_vision_layer(const NameParts& parts)
{
    if (parts.layer == 0)
        return parts.global ? "vision_model.post_tile_positional_embedding" : "vision_model.layernorm_pre";
    return fmt::format("vision_model.{}transformer.layers.{}", parts.global ? "global_" : "",
                       parts.layer - 1);
}

std::vector<std::string> attention_inputs(const NameParts& parts)
{
    const std::string attention = parts.module + "." + parts.leaf.substr(0, parts.leaf.find('.')) + ".";
    const std::string leaf = parts.leaf.substr(parts.leaf.find('.') + 1);
    const bool cross = attention.ends_with(".cross_attn.");
    if (leaf == "q_proj")
        return {parts.module + ".input_layernorm"};
    if (leaf == "k_proj" || leaf == "v_proj")
        return {cross ? "multi_modal_projector" : parts.module + ".input_layernorm"};
    if (leaf == "q_norm" || leaf == "rotated_q")
        return {attention + "q_proj"};
    if (leaf == "k_norm" || leaf == "rotated_k")
        return {attention + "k_proj"};
    if (leaf == "scores")
        return parts.vision ? std::vector<std::string>{attention + "q_proj", attention + "k_proj"}
               : cross      ? std::vector<std::string>{attention + "q_norm", attention + "k_norm"}
                            : std::vector<std::string>{attention + "rotated_q", attention + "rotated_k"};
    if (leaf == "masked_scores")
        return {attention + "scores"};
    if (leaf == "probs")
        return {attention + "masked_scores"};
    if (leaf == "context")
        return {attention + "probs", attention + "v_proj"};
    if (leaf == "o_proj")
        return {attention + "context"};
    if (leaf == "gated")
        return {attention + "o_proj"};
    return {};
}

std::vector<std::string> layer_inputs(const Side& side, const NameParts& parts)
{
    const std::string& module = parts.module;
    const std::string before =
        parts.vision ? state_before_vision_layer(parts) : side.state_before_text_layer(parts.layer);
    const bool cross = side.has(module + ".cross_attn.o_proj") || side.has(module + ".cross_attn.gated") ||
                       side.has(module + ".mlp.gated_output");
    if (parts.leaf == "input_layernorm")
        return {before};
    if (parts.leaf == "residual")
        return {before, cross          ? module + ".cross_attn.gated"
                        : parts.global ? module + ".self_attn.gated"
                                       : module + ".self_attn.o_proj"};
    if (parts.leaf == "post_attention_layernorm")
        return {module + ".residual"};
    if (parts.leaf == "mlp.fc1" || parts.leaf == "mlp.gate_proj" || parts.leaf == "mlp.up_proj")
        return {module + ".post_attention_layernorm"};
    if (parts.leaf == "mlp.activation_fn")
        return {module + ".mlp.fc1"};
    if (parts.leaf == "mlp.act_fn")
        return {module + ".mlp.gate_proj"};
    if (parts.leaf == "mlp.gated")
        return parts.vision ? std::vector<std::string>{module + ".mlp"}
                            : std::vector<std::string>{module + ".mlp.act_fn", module + ".mlp.up_proj"};
    if (parts.leaf == "mlp")
        return {module + (parts.vision ? ".mlp.activation_fn" : ".mlp.gated")};
    if (parts.leaf == "mlp.gated_output")
        return {module + ".mlp"};
    if (parts.leaf.empty())
        return {module + ".residual", cross          ? module + ".mlp.gated_output"
                                      : parts.global ? module + ".mlp.gated"
                                                     : module + ".mlp"};
    return {};
}

}  // namespace

std::vector<std::string> inputs_of(const Side& side, const std::string& name)
{
    const ModelFacts& facts = side.facts();
    const NameParts parts = split_name(name);
    if (!parts.module.empty())
        return parts.leaf.rfind("self_attn.", 0) == 0 || parts.leaf.rfind("cross_attn.", 0) == 0
                   ? attention_inputs(parts)
                   : layer_inputs(side, parts);
    if (name == "vision_model.patch_embedding")
        return {"pixel_values"};
    if (name == "vision_model.pre_tile_positional_embedding")
        return {"vision_model.patch_embedding"};
    if (name == "vision_model.gated_positional_embedding")
        return {"vision_model.pre_tile_positional_embedding"};
    if (name == "vision_model.layernorm_pre")
        return {"vision_model.gated_positional_embedding"};
    if (name == "vision_model.layernorm_post")
        return {fmt::format("vision_model.transformer.layers.{}", facts.n_vision_layers - 1)};
    if (name == "vision_model.post_tile_positional_embedding")
        return {"vision_model.layernorm_post"};
    if (name == "vision_model") {
        std::vector<std::string> states{
            fmt::format("vision_model.global_transformer.layers.{}", facts.n_global_layers - 1)};
        for (std::int64_t layer : facts.kept_layers)
            states.push_back(layer == 0 ? "vision_model.layernorm_pre"
                                        : fmt::format("vision_model.transformer.layers.{}", layer - 1));
        return states;
    }
    if (name == "multi_modal_projector")
        return {"vision_model"};
    if (name == "language_model.embed_tokens")
        return {"input_ids"};
    if (name == "language_model.norm")
        return {side.state_before_text_layer(facts.n_text_layers)};
    if (name == "lm_head")
        return {"language_model.norm"};
    return {};
}

}  // namespace pictor
