#include "reference/text/cross_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/math/linear.h"
#include "reference/math/softmax.h"
#include "reference/text/rms_norm.h"

namespace pictor {

namespace {

constexpr std::int64_t block_tokens = 64;        // queries at a time: 6,404 keys a picture add up
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

// One block of queries of one head: what the recorder and the debugger look at, [block_tokens][n_keys].
struct ScoreBlock {
    Tensor scores, masked_scores, probs;
};

// The last axis, all heads together, seen as one row per head, normalised head by head.
// TRAP(query_and_key_norms): only cross-attention has these two norms; a port of the self layers lacks them.
Tensor rms_norm_each_head(Tensor rows, const Tensor& weight, float eps)
{
    const Shape together = rows.shape;
    rows.shape = {rows.size() / weight.size(), weight.size()};
    Tensor normalised = rms_norm(rows, weight, eps);
    normalised.shape = together;
    return normalised;
}

// One query against all patches of all pictures. query [d_head]. Fills row `row` of the block.
void attend_one_token(const float* query, std::int64_t token, const KeysAndValues& picture,
                      const CrossAttentionMask& mask, std::int64_t kv_head, std::int64_t row,
                      ScoreBlock& block, float* context)
{
    const std::int64_t n_keys = picture.keys.n_rows(), d_head = picture.keys.d_head;
    const std::int64_t n_patches = n_keys / (mask.n_images * mask.n_tiles);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));

    for (std::int64_t key = 0; key < n_keys; ++key)
        block.scores(row, key) = dot(query, picture.keys.row(kv_head, key), d_head) * scale;

    // TRAP(all_zero_bias_rows): a token that may see nothing is not masked at all: both references then
    // soften over EVERY key. The map looks real; it must not be drawn, and under Meta's rules it must not
    // reach the residual.
    const bool sees_nothing = mask.sees_nothing(token);
    for (std::int64_t key = 0; key < n_keys; ++key) {
        const bool visible = sees_nothing || mask.sees_tile(token, key / n_patches);
        block.masked_scores(row, key) =
            visible ? block.scores(row, key) : std::numeric_limits<float>::lowest();
    }

    softmax_row(block.masked_scores.row(row), n_keys, block.probs.row(row));

    for (std::int64_t key = 0; key < n_keys; ++key)
        if (block.probs(row, key) != 0)
            add_scaled(block.probs(row, key), picture.values.row(kv_head, key), d_head, context);
}

}  // namespace

KeysAndValues image_keys_and_values(const CrossAttentionWeights& weights, const TextConfig& config,
                                    const Tensor& images, const Recorder& record)
{
    const std::int64_t n_keys = images.size() / config.d_model, n_kv_heads = config.n_kv_heads,
                       d_head = config.d_head;
    require_shape("image_keys_and_values", images, {-1, -1, -1, config.d_model});
    Tensor patches = images;
    patches.shape = {n_keys, config.d_model};

    const Tensor key = linear(patches, weights.k_proj);
    record("k_proj", "key kv_head channel", key.view({n_keys, n_kv_heads, d_head}));
    const Tensor value = linear(patches, weights.v_proj);
    record("v_proj", "key kv_head channel", value.view({n_keys, n_kv_heads, d_head}));
    const Tensor normalised_key = rms_norm_each_head(key, weights.k_norm, config.rms_norm_eps);
    record("k_norm", "key kv_head channel", normalised_key.view({n_keys, n_kv_heads, d_head}));

    KeysAndValues picture;
    picture.keys.append(normalised_key, n_kv_heads);
    picture.values.append(value, n_kv_heads);
    return picture;
}

Tensor cross_attention(const CrossAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                       const KeysAndValues& picture, const CrossAttentionMask& mask, Rule rule,
                       const Recorder& record)
{
    const std::int64_t n_tokens = mask.n_tokens, n_heads = config.n_heads, d_head = config.d_head,
                       n_keys = picture.keys.n_rows();
    const std::int64_t heads_per_kv = n_heads / config.n_kv_heads;
    require_shape("cross_attention hidden", hidden, {n_tokens, config.d_model});

    const Tensor query = linear(hidden, weights.q_proj);
    record("q_proj", "token head channel", query.view({n_tokens, n_heads, d_head}));
    // TRAP(no_rope_on_cross_attention): a patch has no place in the sentence; its place in the picture is in
    // its state.
    const Tensor normalised_query = rms_norm_each_head(query, weights.q_norm, config.rms_norm_eps);
    record("q_norm", "token head channel", normalised_query.view({n_tokens, n_heads, d_head}));

    const Shape score_shape{n_heads, n_tokens, n_keys};
    RecordedRows recorded_scores = record.begin("scores", "head token key", score_shape);
    RecordedRows recorded_masked = record.begin("masked_scores", "head token key", score_shape);
    RecordedRows recorded_probs = record.begin("probs", "head token key", score_shape);

    ScoreBlock block;
    block.scores = block.masked_scores = block.probs = Tensor({std::min(block_tokens, n_tokens), n_keys});
    Tensor context({n_tokens, n_heads * d_head});
    for (std::int64_t head = 0; head < n_heads; ++head) {
        const std::int64_t kv_head = head / heads_per_kv;
        for (std::int64_t first = 0; first < n_tokens; first += block_tokens) {
            const std::int64_t n_rows = std::min(block_tokens, n_tokens - first);
#pragma omp parallel for schedule(dynamic, 4) if (n_rows > 1 && n_rows * n_keys * d_head > worth_threads)
            for (std::int64_t row = 0; row < n_rows; ++row) {
                const std::int64_t token = first + row;
                attend_one_token(normalised_query.row(token) + head * d_head, token, picture, mask, kv_head,
                                 row, block, context.row(token) + head * d_head);
            }
            recorded_scores.append(block.scores.data(), n_rows * n_keys);
            recorded_masked.append(block.masked_scores.data(), n_rows * n_keys);
            recorded_probs.append(block.probs.data(), n_rows * n_keys);
        }
    }
    recorded_scores.finish();
    recorded_masked.finish();
    recorded_probs.finish();
    record("context", "token head channel", context.view({n_tokens, n_heads, d_head}));

    // TRAP(row_mask): Meta silences rows that may see nothing here as well as after the MLP; transformers
    // only there, so its softened average over every key, padding included, reaches the residual.
    if (rule == Rule::meta)
        for (std::int64_t token = 0; token < n_tokens; ++token)
            if (mask.sees_nothing(token))
                std::fill_n(context.row(token), n_heads * d_head, 0.0f);

    Tensor output = linear(context, weights.o_proj);
    record("o_proj", "token channel", output.view());
    return output;
}

}  // namespace pictor
