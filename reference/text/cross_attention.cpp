#include "reference/text/cross_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/math/dot.h"
#include "reference/math/linear.h"
#include "reference/math/score_block.h"
#include "reference/math/softmax.h"
#include "reference/text/rms_norm.h"

namespace pictor {

namespace {

constexpr std::int64_t block_tokens = 64;        // queries at a time: one image has up to 6,404 keys
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

}  // namespace

KeysAndValues image_keys_and_values(const CrossAttentionWeights& weights, const TextConfig& config,
                                    const Tensor& images, const Recorder& record)
{
    const std::int64_t n_keys = images.size() / config.d_model, d_head = config.d_head;
    require_shape("image_keys_and_values", images, {-1, -1, -1, config.d_model});
    const Tensor patches = reshaped(images, {n_keys, config.d_model});
    const Shape shape{n_keys, config.n_kv_heads, d_head};

    const Tensor k_proj = reshaped(linear(patches, weights.k_proj), shape);
    record("k_proj", "key kv_head channel", k_proj.view());
    const Tensor v_proj = reshaped(linear(patches, weights.v_proj), shape);
    record("v_proj", "key kv_head channel", v_proj.view());
    // TRAP(query_and_key_norms): each head of queries and keys is normalised by itself, with one weight of
    // d_head numbers. Only cross-attention has these two norms; a port of the self layers lacks them.
    const Tensor k_norm = rms_norm(k_proj, weights.k_norm, config.rms_norm_eps);
    record("k_norm", "key kv_head channel", k_norm.view());

    KeysAndValues image;
    image.keys.append(k_norm);
    image.values.append(v_proj);
    return image;
}

Tensor cross_attention(const CrossAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                       const KeysAndValues& image, const CrossAttentionMask& mask, Rule rule,
                       const Recorder& record)
{
    const std::int64_t n_tokens = mask.n_tokens, n_heads = config.n_heads, d_head = config.d_head;
    const std::int64_t n_keys = image.keys.n_rows(), n_patches = n_keys / (mask.n_images * mask.n_tiles);
    const std::int64_t heads_per_kv = n_heads / config.n_kv_heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));
    require_shape("cross_attention hidden", hidden, {n_tokens, config.d_model});

    const Tensor q_proj = reshaped(linear(hidden, weights.q_proj), {n_tokens, n_heads, d_head});
    record("q_proj", "token head channel", q_proj.view());
    // TRAP(no_rope_on_cross_attention): a patch has no position in the sequence; its state tells its place.
    const Tensor query = rms_norm(q_proj, weights.q_norm, config.rms_norm_eps);
    record("q_norm", "token head channel", query.view());

    ScoreBlock block(record, "head token key", {n_heads, n_tokens, n_keys}, block_tokens);
    Tensor context({n_tokens, n_heads, d_head});
    for (std::int64_t head = 0; head < n_heads; ++head) {
        const std::int64_t kv_head = head / heads_per_kv;
        for (std::int64_t first = 0; first < n_tokens; first += block_tokens) {
            const std::int64_t end = std::min(first + block_tokens, n_tokens);
#pragma omp parallel for schedule(dynamic, 4) if ((end - first) * n_keys * d_head > worth_threads)
            for (std::int64_t token = first; token < end; ++token) {
                const std::int64_t row = token - first;
                for (std::int64_t key = 0; key < n_keys; ++key)
                    block.scores(row, key) =
                        dot(query.row(token, head), image.keys.row(kv_head, key), d_head) * scale;

                // TRAP(all_zero_bias_rows): a token that may see nothing is not masked at all: both
                // references then take the softmax over EVERY key. The map looks real; it must not be drawn,
                // and under Meta's rules it must not reach the residual.
                const bool sees_nothing = mask.sees_nothing(token);
                for (std::int64_t key = 0; key < n_keys; ++key) {
                    const std::int64_t tile = key / n_patches;  // of all images: keys run image, tile, patch
                    const bool visible =
                        sees_nothing || mask(token, tile / mask.n_tiles, tile % mask.n_tiles);
                    block.masked_scores(row, key) =
                        visible ? block.scores(row, key) : std::numeric_limits<float>::lowest();
                }

                softmax_row(block.masked_scores.row(row), n_keys, block.probs.row(row));

                for (std::int64_t key = 0; key < n_keys; ++key)
                    if (block.probs(row, key) != 0)
                        add_scaled(block.probs(row, key), image.values.row(kv_head, key), d_head,
                                   context.row(token, head));
            }
            block.append(end - first);
        }
    }
    block.finish();
    record("context", "token head channel", context.view());

    // TRAP(row_mask): Meta silences tokens that may see nothing here as well as after the MLP; transformers
    // only there, so its average over every key, padding included, reaches the residual.
    if (rule == Rule::meta)
        for (std::int64_t token = 0; token < n_tokens; ++token)
            if (mask.sees_nothing(token))
                std::fill_n(context.row(token), n_heads * d_head, 0.0f);

    Tensor output = linear(reshaped(context, {n_tokens, n_heads * d_head}), weights.o_proj);
    record("o_proj", "token channel", output.view());
    return output;
}

}  // namespace pictor
