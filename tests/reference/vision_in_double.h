// The vision side once more in double, one picture at a time, without a look at reference/vision/. Each
// mistake that others made can be switched on, so that a test can show what it would have done.
#pragma once

#include "base/at.h"
#include "tests/reference/small_model.h"

namespace pictor_test {

struct VisionMistakes {
    bool padding_hidden_from_all = false;  // the mask that a reader expects
    bool no_mask = false;
    bool gate_without_tanh = false;
    bool other_rule_for_kept = false;     // off by one layer
    bool kept_final_repeated = false;     // transformers 4.55
    bool kept_one_after_another = false;  // concatenated, not interleaved
    bool whole_positions = false;         // position + tanh(g) * tile position
    bool tanh_gelu = false;
    bool id_counts_from_zero = false;  // row id - 1 of the tables
};

inline double gelu_by_tanh(double x)
{
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

inline Rows vision_attention_in_double(const pictor::VisionLayerWeights& layer,
                                       const pictor::VisionConfig& config, const Rows& hidden,
                                       const std::vector<std::uint8_t>& padding,
                                       const VisionMistakes& mistakes = {})
{
    const Rows context =
        attend_in_double(linear_in_double(hidden, layer.q_proj), linear_in_double(hidden, layer.k_proj),
                         linear_in_double(hidden, layer.v_proj), config.n_heads, config.n_heads,
                         [&](std::size_t query, std::size_t key) {
                             if (mistakes.no_mask)
                                 return true;
                             if (mistakes.padding_hidden_from_all)
                                 return padding[key] == 0;
                             return padding[query] == 0 || padding[key] == 0;
                         });
    return linear_in_double(context, layer.o_proj);
}

inline Rows vision_mlp_in_double(const pictor::VisionLayerWeights& layer, const Rows& hidden,
                                 const VisionMistakes& mistakes = {})
{
    Rows wide = linear_in_double(hidden, layer.fc1, layer.fc1_bias);
    for (Row& row : wide)
        for (double& value : row)
            value = mistakes.tanh_gelu ? gelu_by_tanh(value) : gelu_in_double(value);
    return linear_in_double(wide, layer.fc2, layer.fc2_bias);
}

inline Rows vision_layer_in_double(const pictor::VisionLayerWeights& layer,
                                   const pictor::VisionConfig& config, Rows hidden,
                                   const std::vector<std::uint8_t>& padding,
                                   const VisionMistakes& mistakes = {})
{
    const auto open = [&](float gate) {
        return !layer.is_global             ? 1.0
               : mistakes.gate_without_tanh ? static_cast<double>(gate)
                                            : std::tanh(static_cast<double>(gate));
    };
    hidden = add_in_double(
        hidden,
        vision_attention_in_double(layer, config,
                                   layer_norm_in_double(hidden, layer.input_layernorm, config.layer_norm_eps),
                                   padding, mistakes),
        open(layer.gate_attn));
    return add_in_double(hidden,
                         vision_mlp_in_double(layer,
                                              layer_norm_in_double(hidden, layer.post_attention_layernorm,
                                                                   config.layer_norm_eps),
                                              mistakes),
                         open(layer.gate_ffn));
}

// The patches of one tile, [n * n][d_model].
inline Rows patch_embedding_in_double(const Matrix& weight, const pictor::VisionConfig& config,
                                      const float* pixels)
{
    Rows patches;
    for (std::int64_t top = 0; top < config.tile_size; top += config.patch_size)
        for (std::int64_t left = 0; left < config.tile_size; left += config.patch_size) {
            Row patch;
            for (std::int64_t colour = 0; colour < 3; ++colour)
                for (std::int64_t y = top; y < top + config.patch_size; ++y)
                    for (std::int64_t x = left; x < left + config.patch_size; ++x)
                        patch.push_back(pixels[(colour * config.tile_size + y) * config.tile_size + x]);
            patches.push_back(patch);
        }
    return linear_in_double(patches, weight);
}

// One picture's states before the first layer, [tile][patch] as rows, class token first, not yet padded.
inline Rows embedded_image_in_double(const pictor::VisionWeights& weights, const pictor::VisionConfig& config,
                                     const float* pixels, std::int64_t id,
                                     const VisionMistakes& mistakes = {})
{
    const double before = mistakes.gate_without_tanh ? weights.pre_tile_gate
                                                     : std::tanh(static_cast<double>(weights.pre_tile_gate));
    const double share = mistakes.gate_without_tanh ? weights.position_gate
                                                    : std::tanh(static_cast<double>(weights.position_gate));
    const std::int64_t d = config.d_model, row_of_table = mistakes.id_counts_from_zero ? id - 1 : id;
    Rows states;
    for (std::int64_t tile = 0; tile < config.max_tiles; ++tile) {
        Rows patches = patch_embedding_in_double(weights.patch_embedding, config,
                                                 pixels + tile * 3 * config.tile_size * config.tile_size);
        for (Row& patch : patches)
            for (std::int64_t i = 0; i < d; ++i)
                pictor::at(patch, i) += before * weights.pre_tile_embedding(row_of_table, tile, i);
        patches.insert(patches.begin(),
                       Row(weights.class_embedding.values.begin(), weights.class_embedding.values.end()));
        for (std::size_t patch = 0; patch < patches.size(); ++patch)
            for (std::int64_t i = 0; i < d; ++i)
                pictor::at(patches[patch], i) +=
                    (mistakes.whole_positions ? 1.0 : 1.0 - share) *
                        weights.position_embedding(static_cast<std::int64_t>(patch), i) +
                    share * weights.tile_position_embedding(row_of_table, tile,
                                                            static_cast<std::int64_t>(patch) * d + i);
        states.insert(states.end(), patches.begin(), patches.end());
    }
    return states;
}

// Image number `image` to what the projector reads, [tile][patch] as rows of d_output.
inline Rows vision_encoder_in_double(const pictor::VisionWeights& weights, const pictor::VisionConfig& config,
                                     const pictor::VisionInputs& images, std::int64_t image,
                                     pictor::Rule rule, const VisionMistakes& mistakes = {})
{
    const std::int64_t n_patches = config.n_patches(), n_rows = (n_patches + 7) / 8 * 8,
                       id = pictor::at(images.aspect_ratio_ids, image);
    const Rows embedded = layer_norm_in_double(
        embedded_image_in_double(weights, config, images.pixel_values.row(image), id, mistakes),
        weights.layernorm_pre, config.layer_norm_eps);
    Rows hidden;
    std::vector<std::uint8_t> padding;
    for (std::int64_t tile = 0; tile < config.max_tiles; ++tile)
        for (std::int64_t row = 0; row < n_rows; ++row) {
            const bool exists = pictor::at(images.aspect_ratio_mask, image * config.max_tiles + tile) != 0;
            hidden.push_back(row < n_patches ? pictor::at(embedded, tile * n_patches + row)
                                             : Row(static_cast<std::size_t>(config.d_model)));
            padding.push_back(exists && row < n_patches ? 0 : 1);
        }

    std::vector<Rows> states{hidden};  // states[i]: the input of layer i
    for (const pictor::VisionLayerWeights& layer : weights.layers)
        states.push_back(vision_layer_in_double(layer, config, states.back(), padding, mistakes));
    hidden = layer_norm_in_double(states.back(), weights.layernorm_post, config.layer_norm_eps);
    const double after = mistakes.gate_without_tanh ? weights.post_tile_gate
                                                    : std::tanh(static_cast<double>(weights.post_tile_gate));
    for (std::size_t row = 0; row < hidden.size(); ++row)
        for (std::int64_t i = 0; i < config.d_model; ++i)
            pictor::at(hidden[row], i) +=
                after * weights.post_tile_embedding(mistakes.id_counts_from_zero ? id - 1 : id,
                                                    static_cast<std::int64_t>(row) / n_rows, i);
    for (const pictor::VisionLayerWeights& layer : weights.global_layers)
        hidden = vision_layer_in_double(layer, config, hidden, padding, mistakes);

    const bool keeps_output = (rule == pictor::Rule::transformers) != mistakes.other_rule_for_kept;
    Rows joined;
    for (std::size_t row = 0; row < hidden.size(); ++row) {
        if (static_cast<std::int64_t>(row) % n_rows >= n_patches)
            continue;
        Row out = hidden[row];
        const std::size_t n_kept = config.kept_layers.size(), d = hidden[row].size();
        out.resize(d * (1 + n_kept));
        for (std::size_t k = 0; k < n_kept; ++k) {
            const std::size_t index =
                static_cast<std::size_t>(config.kept_layers[k]) + (keeps_output ? 1 : 0);
            const Row& kept = mistakes.kept_final_repeated ? states.back()[row] : states[index][row];
            for (std::size_t i = 0; i < d; ++i)
                out[mistakes.kept_one_after_another ? d * (1 + k) + i : d + i * n_kept + k] = kept[i];
        }
        joined.push_back(out);
    }
    return joined;
}

}  // namespace pictor_test
