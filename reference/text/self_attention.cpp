#include "reference/text/self_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/math/dot.h"
#include "reference/math/linear.h"
#include "reference/math/score_block.h"
#include "reference/math/softmax.h"

namespace pictor {

namespace {

constexpr std::int64_t block_tokens = 64;        // queries at a time: see ScoreBlock
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

}  // namespace

Tensor self_attention(const SelfAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                      const RopeAngles& angles, KeysAndValues& cache, const Recorder& record)
{
    const std::int64_t n_tokens = hidden.extent(0), n_heads = config.n_heads, d_head = config.d_head;
    const std::int64_t n_kv_heads = config.n_kv_heads, heads_per_kv = n_heads / n_kv_heads;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));
    require_shape("self_attention hidden", hidden, {-1, config.d_model});

    const Tensor q_proj = reshaped(linear(hidden, weights.q_proj), {n_tokens, n_heads, d_head});
    record("q_proj", "token head channel", q_proj.view());
    const Tensor k_proj = reshaped(linear(hidden, weights.k_proj), {n_tokens, n_kv_heads, d_head});
    record("k_proj", "token kv_head channel", k_proj.view());
    const Tensor v_proj = reshaped(linear(hidden, weights.v_proj), {n_tokens, n_kv_heads, d_head});
    record("v_proj", "token kv_head channel", v_proj.view());

    const Tensor query = rotate(q_proj, angles);
    record("rotated_q", "token head channel", query.view());
    const Tensor rotated_k = rotate(k_proj, angles);
    record("rotated_k", "token kv_head channel", rotated_k.view());

    const std::int64_t first_position = cache.keys.n_rows();
    cache.keys.append(rotated_k);
    cache.values.append(v_proj);
    const std::int64_t n_keys = cache.keys.n_rows();

    ScoreBlock block(record, "head token key", {n_heads, n_tokens, n_keys}, block_tokens);
    Tensor context({n_tokens, n_heads, d_head});
    for (std::int64_t head = 0; head < n_heads; ++head) {
        const std::int64_t kv_head = head / heads_per_kv;
        for (std::int64_t first = 0; first < n_tokens; first += block_tokens) {
            const std::int64_t end = std::min(first + block_tokens, n_tokens);
#pragma omp parallel for schedule(dynamic, 4) if ((end - first) * n_keys * d_head > worth_threads)
            for (std::int64_t token = first; token < end; ++token) {
                const std::int64_t row = token - first, position = first_position + token;
                for (std::int64_t key = 0; key < n_keys; ++key)
                    block.scores(row, key) =
                        dot(query.row(token, head), cache.keys.row(kv_head, key), d_head) * scale;

                for (std::int64_t key = 0; key < n_keys; ++key)
                    block.masked_scores(row, key) =
                        key <= position ? block.scores(row, key) : std::numeric_limits<float>::lowest();

                softmax_row(block.masked_scores.row(row), n_keys, block.probs.row(row));

                for (std::int64_t key = 0; key <= position; ++key)
                    add_scaled(block.probs(row, key), cache.values.row(kv_head, key), d_head,
                               context.row(token, head));
            }
            block.append(end - first);
        }
    }
    block.finish();
    record("context", "token head channel", context.view());

    Tensor output = linear(reshaped(context, {n_tokens, n_heads * d_head}), weights.o_proj);
    record("o_proj", "token channel", output.view());
    return output;
}

}  // namespace pictor
