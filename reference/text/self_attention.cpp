#include "reference/text/self_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/math/linear.h"
#include "reference/math/softmax.h"

namespace pictor {

namespace {

constexpr std::int64_t block_tokens =
    64;  // queries at a time: a long prompt's scores never stand in memory whole
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

// One block of queries of one head: what the recorder and the debugger look at, [block_tokens][n_keys].
struct ScoreBlock {
    Tensor scores, masked_scores, probs;
};

// One query against all keys. query [d_head], position: its place in the sentence. Fills row `row` of the
// block.
void attend_one_token(const float* query, std::int64_t position, const KeysAndValues& cache,
                      std::int64_t kv_head, std::int64_t row, ScoreBlock& block, float* context)
{
    const std::int64_t n_keys = cache.keys.n_rows(), d_head = cache.keys.d_head;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));

    for (std::int64_t key = 0; key < n_keys; ++key)
        block.scores(row, key) = dot(query, cache.keys.row(kv_head, key), d_head) * scale;

    for (std::int64_t key = 0; key < n_keys; ++key)
        block.masked_scores(row, key) =
            key <= position ? block.scores(row, key) : std::numeric_limits<float>::lowest();

    softmax_row(block.masked_scores.row(row), n_keys, block.probs.row(row));

    for (std::int64_t key = 0; key <= position; ++key)
        add_scaled(block.probs(row, key), cache.values.row(kv_head, key), d_head, context);
}

}  // namespace

Tensor self_attention(const SelfAttentionWeights& weights, const TextConfig& config, const Tensor& hidden,
                      const RopeAngles& angles, KeysAndValues& cache, const Recorder& record)
{
    const std::int64_t n_tokens = hidden.extent(0), n_heads = config.n_heads, n_kv_heads = config.n_kv_heads,
                       d_head = config.d_head;
    const std::int64_t heads_per_kv = n_heads / n_kv_heads;
    require_shape("self_attention hidden", hidden, {-1, config.d_model});

    const Tensor query = linear(hidden, weights.q_proj);
    record("q_proj", "token head channel", query.view({n_tokens, n_heads, d_head}));
    const Tensor key = linear(hidden, weights.k_proj);
    record("k_proj", "token kv_head channel", key.view({n_tokens, n_kv_heads, d_head}));
    const Tensor value = linear(hidden, weights.v_proj);
    record("v_proj", "token kv_head channel", value.view({n_tokens, n_kv_heads, d_head}));

    const Tensor rotated_q = rotate(query, angles);
    record("rotated_q", "token head channel", rotated_q.view({n_tokens, n_heads, d_head}));
    const Tensor rotated_k = rotate(key, angles);
    record("rotated_k", "token kv_head channel", rotated_k.view({n_tokens, n_kv_heads, d_head}));

    const std::int64_t first_position = cache.keys.n_rows();
    cache.keys.append(rotated_k, n_kv_heads);
    cache.values.append(value, n_kv_heads);
    const std::int64_t n_keys = cache.keys.n_rows();

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
                attend_one_token(rotated_q.row(token) + head * d_head, first_position + token, cache, kv_head,
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

    Tensor output = linear(context, weights.o_proj);
    record("o_proj", "token channel", output.view());
    return output;
}

}  // namespace pictor
