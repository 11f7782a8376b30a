#include "reference/text/decoder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "reference/math/dot.h"
#include "reference/text/cross_attention.h"
#include "reference/text/lm_head.h"
#include "reference/text/mlp.h"
#include "reference/text/rms_norm.h"
#include "reference/text/rope.h"
#include "reference/text/self_attention.h"
#include "reference/text/token_embedding.h"

namespace pictor {

namespace {

Tensor add(const Tensor& a, const Tensor& b)
{
    require_shape("residual", b, a.shape);
    Tensor sum = a;
    add_scaled(1.0f, b.data(), b.size(), sum.data());
    return sum;
}

// TRAP(gate_without_tanh): the file holds the gate before tanh.
Tensor scale_by_gate(const Tensor& branch, float gate)
{
    Tensor gated = branch;
    for (float& value : gated.values)
        value *= std::tanh(gate);
    return gated;
}

}  // namespace

Tensor text_self_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                       const RopeAngles& angles, KeysAndValues& cache, const Recorder& record)
{
    const Tensor normalised = rms_norm(hidden, layer.input_layernorm, config.rms_norm_eps);
    record("input_layernorm", "token channel", normalised.view());
    const Tensor attention_output =
        self_attention(layer.self_attention, config, normalised, angles, cache, record.scope("self_attn"));
    const Tensor residual = add(hidden, attention_output);
    record("residual", "token channel", residual.view());

    const Tensor normalised_again = rms_norm(residual, layer.post_attention_layernorm, config.rms_norm_eps);
    record("post_attention_layernorm", "token channel", normalised_again.view());
    return add(residual, text_mlp(layer.mlp, normalised_again, record));
}

Tensor text_cross_layer(const TextLayerWeights& layer, const TextConfig& config, const Tensor& hidden,
                        const Tensor& images, const CrossAttentionMask& mask, KeysAndValues& image, Rule rule,
                        const Recorder& record)
{
    const Tensor normalised = rms_norm(hidden, layer.input_layernorm, config.rms_norm_eps);
    record("input_layernorm", "token channel", normalised.view());
    // TRAP(cross_keys_kept): made with the first tokens and kept; images do not change while tokens are
    // generated.
    if (image.keys.empty())
        image = image_keys_and_values(layer.cross_attention, config, images, record.scope("cross_attn"));
    const Tensor attention_output = cross_attention(layer.cross_attention, config, normalised, image, mask,
                                                    rule, record.scope("cross_attn"));
    const Tensor gated = scale_by_gate(attention_output, layer.attention_gate);
    record("cross_attn.gated", "token channel", gated.view());
    const Tensor residual = add(hidden, gated);
    record("residual", "token channel", residual.view());

    const Tensor normalised_again = rms_norm(residual, layer.post_attention_layernorm, config.rms_norm_eps);
    record("post_attention_layernorm", "token channel", normalised_again.view());
    Tensor mlp_output = text_mlp(layer.mlp, normalised_again, record);
    for (std::int64_t token = 0; token < mask.n_tokens; ++token)
        if (mask.sees_nothing(token))
            std::fill_n(mlp_output.row(token), config.d_model, 0.0f);
    const Tensor gated_output = scale_by_gate(mlp_output, layer.mlp_gate);
    record("mlp.gated_output", "token channel", gated_output.view());
    return add(residual, gated_output);
}

Tensor text_decoder(const TextWeights& weights, const TextConfig& config,
                    const std::vector<std::int64_t>& token_ids, const Tensor& images,
                    const CrossAttentionMask& mask, KvCache& cache, Rule rule, const Recorder& record)
{
    const std::int64_t n_tokens = std::ssize(token_ids);
    if (cache.n_tokens + n_tokens > config.max_positions)
        throw std::runtime_error(fmt::format("prompt: {} tokens, but the model has {} positions",
                                             cache.n_tokens + n_tokens, config.max_positions));
    const bool has_images = mask.n_images > 0;
    cache.layers.resize(weights.layers.size());

    const Recorder model_record = record.scope("language_model");
    Tensor hidden = embed_tokens(weights.embed_tokens, token_ids);
    model_record("embed_tokens", "token channel", hidden.view());
    const RopeAngles angles = rope_angles(config.rope, config.d_head, cache.n_tokens, n_tokens);
    model_record("rotary_emb.cos", "token channel", angles.cos.view());
    model_record("rotary_emb.sin", "token channel", angles.sin.view());

    for (std::int64_t index = 0; index < std::ssize(weights.layers); ++index) {
        const TextLayerWeights& layer = at(weights.layers, index);
        const Recorder layer_record = model_record.scope("layers", index);
        if (layer.is_cross && !has_images)
            continue;
        KeysAndValues& kept = at(cache.layers, index);
        hidden = layer.is_cross
                     ? text_cross_layer(layer, config, hidden, images, mask, kept, rule, layer_record)
                     : text_self_layer(layer, config, hidden, angles, kept, layer_record);
        model_record(fmt::format("layers.{}", index), "token channel", hidden.view());
    }
    cache.n_tokens += n_tokens;

    hidden = rms_norm(hidden, weights.norm, config.rms_norm_eps);
    model_record("norm", "token channel", hidden.view());
    return lm_head(weights.lm_head, hidden, record);
}

}  // namespace pictor
