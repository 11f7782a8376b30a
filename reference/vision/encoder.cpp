#include "reference/vision/encoder.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "reference/math/dot.h"
#include "reference/vision/attention.h"
#include "reference/vision/layer_norm.h"
#include "reference/vision/mlp.h"
#include "reference/vision/patch_embedding.h"
#include "reference/vision/positions.h"

namespace pictor {

namespace {

constexpr const char* patch_axes = "image tile patch channel";
constexpr float outer_eps = 1e-5f;  // of the LayerNorms before and after the layers; inside, config.norm_eps

void check_inputs(const VisionInputs& images, const VisionConfig& config)
{
    const std::int64_t n_images = images.n_images(), n_ids = std::ssize(config.aspect_ratios) + 1;
    require_shape("pixel_values", images.pixel_values,
                  {n_images, config.max_tiles, 3, config.tile_size, config.tile_size});
    if (std::ssize(images.aspect_ratio_mask) != n_images * config.max_tiles)
        throw std::runtime_error(fmt::format("aspect_ratio_mask: wanted [{}, {}], got {} numbers", n_images,
                                             config.max_tiles, images.aspect_ratio_mask.size()));
    for (std::int64_t id : images.aspect_ratio_ids)
        if (id < 0 || id >= n_ids)
            throw std::runtime_error(
                fmt::format("aspect_ratio_ids: {} is not one of 0 to {}", id, n_ids - 1));
}

// Pads each tile with rows of zeros.
Tensor pad_rows(const Tensor& states, std::int64_t n_rows)
{
    const std::int64_t n_images = states.extent(0), n_tiles = states.extent(1),
                       n_values = states.extent(2) * states.extent(3);
    Tensor padded({n_images, n_tiles, n_rows, states.extent(3)});
    for (std::int64_t image = 0; image < n_images; ++image)
        for (std::int64_t tile = 0; tile < n_tiles; ++tile)
            std::copy_n(states.row(image, tile), n_values, padded.row(image, tile));
    return padded;
}

// [image][tile][row]: 1 for rows of padding and for every row of an absent tile.
std::vector<std::uint8_t> find_padding(const VisionInputs& images, std::int64_t n_patches,
                                       std::int64_t n_rows)
{
    std::vector<std::uint8_t> padding;
    for (std::int64_t exists : images.aspect_ratio_mask)
        for (std::int64_t row = 0; row < n_rows; ++row)
            padding.push_back(exists == 0 || row >= n_patches ? 1 : 0);
    return padding;
}

// residual + branch, in global layers residual + tanh(gate) * branch.
Tensor add_branch(const Tensor& residual, const Tensor& branch, bool is_global, float gate,
                  std::string_view name, const Recorder& record)
{
    Tensor sum = residual;
    if (!is_global) {
        add_scaled(1.0f, branch.data(), branch.size(), sum.data());
        return sum;
    }
    Tensor gated = branch;
    for (float& value : gated.values)
        value *= std::tanh(gate);  // TRAP(gate_without_tanh): the file holds the gate before tanh
    record(name, patch_axes, gated.view());
    add_scaled(1.0f, gated.data(), gated.size(), sum.data());
    return sum;
}

// The local layers. Keeps the states the config asks for: before or after their layer, by the rule.
Tensor local_layers(const VisionWeights& weights, const VisionConfig& config, Tensor hidden,
                    const std::vector<std::uint8_t>& padding, Rule rule, std::vector<Tensor>& kept,
                    const Recorder& record)
{
    const std::vector<std::int64_t>& wanted = config.kept_layers;
    for (std::int64_t index = 0; index < std::ssize(weights.layers); ++index) {
        const bool keep = std::find(wanted.begin(), wanted.end(), index) != wanted.end();
        // TRAP(kept_states_off_by_one): the released weights were trained on the INPUT of layers 3, 7, 15, 23
        // and 30. transformers since 4.56 keeps their output: one layer late, and the answers look plausible.
        if (keep && rule == Rule::meta)
            kept.push_back(hidden);
        hidden =
            vision_layer(at(weights.layers, index), config, hidden, padding, record.scope("layers", index));
        record(fmt::format("layers.{}", index), patch_axes, hidden.view());
        if (keep && rule == Rule::transformers)
            kept.push_back(hidden);
    }
    return hidden;
}

// Of each patch: the final state, then for each channel the kept states side by side. Rows of padding are
// dropped.
Tensor join_states(const Tensor& final_state, const std::vector<Tensor>& kept, std::int64_t n_patches)
{
    const std::int64_t n_images = final_state.extent(0), n_tiles = final_state.extent(1),
                       d = final_state.extent(3);
    const std::int64_t n_kept = std::ssize(kept);
    Tensor joined({n_images, n_tiles, n_patches, d * (1 + n_kept)});
    for (std::int64_t tile = 0; tile < n_images * n_tiles; ++tile) {
        for (std::int64_t patch = 0; patch < n_patches; ++patch) {
            const std::int64_t start = (tile * final_state.extent(2) + patch) * d;
            float* out = joined.data() + (tile * n_patches + patch) * d * (1 + n_kept);
            out = std::copy_n(final_state.data() + start, d, out);
            // TRAP(interleaved_concat): stacked on a new last axis, then flattened: all states of channel 0,
            // then all of channel 1.
            for (std::int64_t channel = 0; channel < d; ++channel)
                for (std::int64_t state = 0; state < n_kept; ++state)
                    *out++ = at(kept, state).data()[start + channel];
        }
    }
    return joined;
}

}  // namespace

Tensor vision_layer(const VisionLayerWeights& layer, const VisionConfig& config, const Tensor& hidden,
                    const std::vector<std::uint8_t>& padding, const Recorder& record)
{
    const Tensor normalised = layer_norm(hidden, layer.input_layernorm, config.layer_norm_eps);
    record("input_layernorm", patch_axes, normalised.view());
    const Tensor attention_output =
        vision_attention(layer, config, normalised, padding, record.scope("self_attn"));
    const Tensor residual =
        add_branch(hidden, attention_output, layer.is_global, layer.gate_attn, "self_attn.gated", record);
    record("residual", patch_axes, residual.view());

    const Tensor normalised_again =
        layer_norm(residual, layer.post_attention_layernorm, config.layer_norm_eps);
    record("post_attention_layernorm", patch_axes, normalised_again.view());
    const Tensor mlp_output = vision_mlp(layer, normalised_again, record);
    return add_branch(residual, mlp_output, layer.is_global, layer.gate_ffn, "mlp.gated", record);
}

Tensor vision_encoder(const VisionWeights& weights, const VisionConfig& config, const VisionInputs& images,
                      Rule rule, const Recorder& record)
{
    check_inputs(images, config);
    const std::vector<std::int64_t>& ids = images.aspect_ratio_ids;

    Tensor hidden = patch_embedding(weights, config, images.pixel_values);
    record("patch_embedding", patch_axes, hidden.view());
    hidden = add_tile_embedding(hidden, ids, weights.pre_tile_embedding, weights.pre_tile_gate);
    record("pre_tile_positional_embedding", patch_axes, hidden.view());
    hidden = with_class_token(hidden, weights.class_embedding);
    hidden = add_positions(hidden, ids, weights);
    record("gated_positional_embedding", patch_axes, hidden.view());
    hidden = layer_norm(hidden, weights.layernorm_pre, outer_eps);
    record("layernorm_pre", patch_axes, hidden.view());

    const std::int64_t n_patches = config.n_patches(), n_rows = config.n_padded_patches();
    hidden = pad_rows(hidden, n_rows);
    const std::vector<std::uint8_t> padding = find_padding(images, n_patches, n_rows);
    std::vector<Tensor> kept;
    hidden =
        local_layers(weights, config, std::move(hidden), padding, rule, kept, record.scope("transformer"));

    hidden = layer_norm(hidden, weights.layernorm_post, outer_eps);
    record("layernorm_post", patch_axes, hidden.view());
    hidden = add_tile_embedding(hidden, ids, weights.post_tile_embedding, weights.post_tile_gate);
    record("post_tile_positional_embedding", patch_axes, hidden.view());

    const Recorder global_record = record.scope("global_transformer");
    for (std::int64_t index = 0; index < std::ssize(weights.global_layers); ++index) {
        hidden = vision_layer(at(weights.global_layers, index), config, hidden, padding,
                              global_record.scope("layers", index));
        global_record(fmt::format("layers.{}", index), patch_axes, hidden.view());
    }
    return join_states(hidden, kept, n_patches);
}

}  // namespace pictor
