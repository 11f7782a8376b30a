// The text side once more in double, without cache and without a look at reference/text/. Each mistake that
// others made can be switched on, so that a test can show what it would have done.
#pragma once

#include "tests/reference/small_model.h"

namespace pictor_test {

struct TextMistakes {
    bool neighbours_turn = false;  // RoPE on channels 2i, 2i + 1
    bool no_rope_scaling = false;
    bool no_query_norm = false;
    bool no_key_norm = false;
    bool rope_on_cross = false;
    bool blind_rows_uniform = false;  // everything masked: softmax of equal numbers
    bool other_rule_for_attention = false;
    bool blind_rows_keep_mlp = false;
    bool gate_without_tanh = false;
};

inline Row frequencies_in_double(const pictor::RopeConfig& config, std::int64_t d_head, bool scaled)
{
    const double pi = std::acos(-1.0), original = static_cast<double>(config.original_length);
    Row frequencies;
    for (std::int64_t pair = 0; pair < d_head / 2; ++pair) {
        const double frequency =
            std::pow(config.theta, -2.0 * static_cast<double>(pair) / static_cast<double>(d_head));
        const double wavelength = 2 * pi / frequency;
        if (!scaled || wavelength < original / config.high_freq_factor) {
            frequencies.push_back(frequency);
        } else if (wavelength > original / config.low_freq_factor) {
            frequencies.push_back(frequency / config.factor);
        } else {
            const double smooth = (original / wavelength - config.low_freq_factor) /
                                  (config.high_freq_factor - config.low_freq_factor);
            frequencies.push_back((1 - smooth) * frequency / config.factor + smooth * frequency);
        }
    }
    return frequencies;
}

// Pairs are channels i and i + d_head / 2, or with `neighbours` 2i and 2i + 1.
inline Rows rotate_in_double(const Rows& x, const Row& frequencies, double first_position,
                             bool neighbours = false)
{
    Rows rotated = x;
    const std::size_t half = frequencies.size();
    for (std::size_t token = 0; token < x.size(); ++token) {
        for (std::size_t start = 0; start < x[token].size(); start += 2 * half) {
            for (std::size_t pair = 0; pair < half; ++pair) {
                const std::size_t a = start + (neighbours ? 2 * pair : pair),
                                  b = start + (neighbours ? 2 * pair + 1 : pair + half);
                const double angle = (first_position + static_cast<double>(token)) * frequencies[pair];
                rotated[token][a] = x[token][a] * std::cos(angle) - x[token][b] * std::sin(angle);
                rotated[token][b] = x[token][b] * std::cos(angle) + x[token][a] * std::sin(angle);
            }
        }
    }
    return rotated;
}

inline Rows self_attention_in_double(const pictor::SelfAttentionWeights& weights,
                                     const pictor::TextConfig& config, const Rows& hidden,
                                     const TextMistakes& mistakes = {})
{
    const Row frequencies =
        frequencies_in_double(config.rope, config.d_head, config.rope.scaled && !mistakes.no_rope_scaling);
    const Rows query =
        rotate_in_double(linear_in_double(hidden, weights.q_proj), frequencies, 0, mistakes.neighbours_turn);
    const Rows keys =
        rotate_in_double(linear_in_double(hidden, weights.k_proj), frequencies, 0, mistakes.neighbours_turn);
    const Rows context =
        attend_in_double(query, keys, linear_in_double(hidden, weights.v_proj), config.n_heads,
                         config.n_kv_heads, [](std::size_t token, std::size_t key) { return key <= token; });
    return linear_in_double(context, weights.o_proj);
}

inline bool is_blind(const pictor::CrossAttentionMask& mask, std::size_t token)
{
    const std::size_t width = static_cast<std::size_t>(mask.n_images * mask.n_tiles);
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < width; ++i)
        sum += mask.visible[token * width + i];
    return sum == 0;
}

// patches: the projector's output as rows, image by image, tile by tile.
inline Rows cross_attention_in_double(const pictor::CrossAttentionWeights& weights,
                                      const pictor::TextConfig& config, const Rows& hidden,
                                      const Rows& patches, const pictor::CrossAttentionMask& mask,
                                      pictor::Rule rule, const TextMistakes& mistakes = {})
{
    Rows query = linear_in_double(hidden, weights.q_proj), keys = linear_in_double(patches, weights.k_proj);
    if (!mistakes.no_query_norm)
        query = rms_norm_in_double(query, weights.q_norm, config.rms_norm_eps);
    if (!mistakes.no_key_norm)
        keys = rms_norm_in_double(keys, weights.k_norm, config.rms_norm_eps);
    if (mistakes.rope_on_cross) {
        const Row frequencies = frequencies_in_double(config.rope, config.d_head, config.rope.scaled);
        query = rotate_in_double(query, frequencies, 0);
        keys = rotate_in_double(keys, frequencies, 0);
    }
    if (mistakes.blind_rows_uniform)
        for (std::size_t token = 0; token < query.size(); ++token)
            if (is_blind(mask, token))
                query[token].assign(query[token].size(), 0.0);

    const std::size_t width = static_cast<std::size_t>(mask.n_images * mask.n_tiles),
                      n_patches = patches.size() / width;
    Rows context = attend_in_double(query, keys, linear_in_double(patches, weights.v_proj), config.n_heads,
                                    config.n_kv_heads, [&](std::size_t token, std::size_t key) {
                                        return is_blind(mask, token) ||
                                               mask.visible[token * width + key / n_patches] != 0;
                                    });
    if ((rule == pictor::Rule::meta) != mistakes.other_rule_for_attention)
        for (std::size_t token = 0; token < context.size(); ++token)
            if (is_blind(mask, token))
                context[token].assign(context[token].size(), 0.0);
    return linear_in_double(context, weights.o_proj);
}

inline Rows text_mlp_in_double(const pictor::TextMlpWeights& weights, const Rows& hidden)
{
    Rows gated = linear_in_double(hidden, weights.gate_proj);
    const Rows up = linear_in_double(hidden, weights.up_proj);
    for (std::size_t row = 0; row < gated.size(); ++row)
        for (std::size_t i = 0; i < gated[row].size(); ++i)
            gated[row][i] = silu_in_double(gated[row][i]) * up[row][i];
    return linear_in_double(gated, weights.down_proj);
}

// A whole prompt to logits. No pictures: pass no patches.
inline Rows text_decoder_in_double(const pictor::TextWeights& weights, const pictor::TextConfig& config,
                                   const std::vector<std::int64_t>& ids, const Rows& patches,
                                   const pictor::CrossAttentionMask& mask, pictor::Rule rule,
                                   const TextMistakes& mistakes = {})
{
    Rows hidden;
    for (std::int64_t id : ids) {
        std::vector<float> row(static_cast<std::size_t>(config.d_model));
        weights.embed_tokens.widen_row(id, row.data());
        hidden.emplace_back(row.begin(), row.end());
    }
    const auto open = [&](float gate) {
        return mistakes.gate_without_tanh ? static_cast<double>(gate) : std::tanh(static_cast<double>(gate));
    };
    for (const pictor::TextLayerWeights& layer : weights.layers) {
        if (layer.is_cross && patches.empty())
            continue;
        const Rows normalised = rms_norm_in_double(hidden, layer.input_layernorm, config.rms_norm_eps);
        if (layer.is_cross)
            hidden = add_in_double(hidden,
                                   cross_attention_in_double(layer.cross_attention, config, normalised,
                                                             patches, mask, rule, mistakes),
                                   open(layer.attention_gate));
        else
            hidden = add_in_double(
                hidden, self_attention_in_double(layer.self_attention, config, normalised, mistakes));
        Rows moved = text_mlp_in_double(
            layer.mlp, rms_norm_in_double(hidden, layer.post_attention_layernorm, config.rms_norm_eps));
        for (std::size_t token = 0; layer.is_cross && !mistakes.blind_rows_keep_mlp && token < moved.size();
             ++token)
            if (is_blind(mask, token))
                moved[token].assign(moved[token].size(), 0.0);
        hidden = add_in_double(hidden, moved, layer.is_cross ? open(layer.mlp_gate) : 1.0);
    }
    return linear_in_double(rms_norm_in_double(hidden, weights.norm, config.rms_norm_eps), weights.lm_head);
}

}  // namespace pictor_test
