#include "reference/vision/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <omp.h>

#include "reference/math/linear.h"
#include "reference/math/softmax.h"

namespace pictor {

namespace {

constexpr std::int64_t block_queries = 48;       // queries of a thread at a time: 48 x 6432 scores are 1.2 MB
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

// One head of one picture. Rows of query, key, value and context stand d_model apart; pointers are at the
// head's first channel of the picture's first row.
struct Head {
    const float* query;
    const float* key;
    const float* value;
    const std::uint8_t* padding;
    float* context;
    std::int64_t n_rows, d_head, d_model;
};

// A block of queries of one head, [n_queries][n_keys]: what the recorder and the debugger look at.
struct ScoreBlock {
    Tensor scores, masked_scores, probs;
};

void mask_and_softmax(const Head& head, std::int64_t query, std::int64_t row, ScoreBlock& block)
{
    // TRAP(padding_masks_padding_only): only where BOTH query and key are padding. Real patches do look at
    // padding rows and at absent tiles; it looks like a bug, and it is what the weights were trained with.
    const float* scores = block.scores.row(row);
    float* masked_scores = block.masked_scores.row(row);
    if (head.padding[query] == 0)
        std::copy_n(scores, head.n_rows, masked_scores);
    else
        for (std::int64_t key = 0; key < head.n_rows; ++key)
            masked_scores[key] = head.padding[key] != 0 ? std::numeric_limits<float>::lowest() : scores[key];
    softmax_row(block.masked_scores.row(row), head.n_rows, block.probs.row(row));
}

// The plain loops: queries first ... first + n_queries - 1 into rows first_row ... of the block.
[[maybe_unused]] void attend_plain(const Head& head, std::int64_t first, std::int64_t n_queries,
                                   std::int64_t first_row, ScoreBlock& block)
{
    const float scale = 1.0f / std::sqrt(static_cast<float>(head.d_head));
    for (std::int64_t i = 0; i < n_queries; ++i) {
        const std::int64_t query = first + i, row = first_row + i;
        for (std::int64_t key = 0; key < head.n_rows; ++key) {
            float sum = 0;
            for (std::int64_t channel = 0; channel < head.d_head; ++channel)
                sum += head.query[query * head.d_model + channel] * head.key[key * head.d_model + channel];
            block.scores(row, key) = sum * scale;
        }
        mask_and_softmax(head, query, row, block);
        for (std::int64_t key = 0; key < head.n_rows; ++key)
            for (std::int64_t channel = 0; channel < head.d_head; ++channel)
                head.context[query * head.d_model + channel] +=
                    block.probs(row, key) * head.value[key * head.d_model + channel];
    }
}

// The same with keys and values in packed panels: at 6432 rows the two products are as much work as all the
// linear layers together. The debug build never calls it: there the plain loops run.
struct PackedHead {
    Panels keys;    // outputs are keys, inputs are channels
    Panels values;  // outputs are channels, inputs are keys
};

[[maybe_unused]] PackedHead pack_head(const Head& head)
{
    return {pack_panels(head.key, head.n_rows, head.d_head, head.d_model, 1),
            pack_panels(head.value, head.d_head, head.n_rows, 1, head.d_model)};
}

[[maybe_unused]] void attend_packed(const Head& head, const PackedHead& packed, std::int64_t first,
                                    std::int64_t n_queries, std::int64_t first_row, ScoreBlock& block)
{
    const float scale = 1.0f / std::sqrt(static_cast<float>(head.d_head));
    multiply_panels(head.query + first * head.d_model, n_queries, head.d_model, packed.keys,
                    block.scores.row(first_row), head.n_rows);
    for (std::int64_t i = 0; i < n_queries; ++i) {
        float* scores = block.scores.row(first_row + i);
        for (std::int64_t key = 0; key < head.n_rows; ++key)
            scores[key] *= scale;
        mask_and_softmax(head, first + i, first_row + i, block);
    }
    multiply_panels(block.probs.row(first_row), n_queries, head.n_rows, packed.values,
                    head.context + first * head.d_model, head.d_model);
}

// All queries of one head, a block per thread at a time, so that the whole [query][key] square never stands
// in memory.
void attend_head(const Head& head, ScoreBlock& block, RecordedRows& scores, RecordedRows& masked_scores,
                 RecordedRows& probs)
{
#ifdef NDEBUG
    const PackedHead packed = pack_head(head);
#endif
    const std::int64_t stride = block.scores.extent(0);
    for (std::int64_t first = 0; first < head.n_rows; first += stride) {
        const std::int64_t n_queries = std::min(stride, head.n_rows - first);
#pragma omp parallel for schedule(static) if (n_queries * head.n_rows * head.d_head > worth_threads)
        for (std::int64_t row = 0; row < n_queries; row += block_queries) {
            const std::int64_t count = std::min(block_queries, n_queries - row);
#ifdef NDEBUG
            attend_packed(head, packed, first + row, count, row, block);
#else
            attend_plain(head, first + row, count, row, block);
#endif
        }
        scores.append(block.scores.data(), n_queries * head.n_rows);
        masked_scores.append(block.masked_scores.data(), n_queries * head.n_rows);
        probs.append(block.probs.data(), n_queries * head.n_rows);
    }
}

}  // namespace

Tensor vision_attention(const VisionLayerWeights& weights, const VisionConfig& config, const Tensor& hidden,
                        const std::vector<std::uint8_t>& padding, const Recorder& record)
{
    const std::int64_t n_images = hidden.extent(0), n_tiles = hidden.extent(1),
                       n_rows_of_tile = hidden.extent(2);
    const std::int64_t n_heads = config.n_heads, d_head = config.d_head, d_model = config.d_model;
    const std::int64_t n_rows = n_tiles * n_rows_of_tile;  // of a picture: tiles are one long sequence
    require_shape("vision_attention hidden", hidden, {-1, -1, -1, d_model});
    const Shape head_shape{n_images, n_tiles, n_rows_of_tile, n_heads, d_head};

    const Tensor query = linear(hidden, weights.q_proj);
    record("q_proj", "image tile patch head channel", query.view(head_shape));
    const Tensor key = linear(hidden, weights.k_proj);
    record("k_proj", "image tile patch head channel", key.view(head_shape));
    const Tensor value = linear(hidden, weights.v_proj);
    record("v_proj", "image tile patch head channel", value.view(head_shape));

    const Shape score_shape{n_images, n_heads, n_rows, n_rows};
    RecordedRows recorded_scores = record.begin("scores", "image head query key", score_shape);
    RecordedRows recorded_masked = record.begin("masked_scores", "image head query key", score_shape);
    RecordedRows recorded_probs = record.begin("probs", "image head query key", score_shape);

    ScoreBlock block;
    block.scores = block.masked_scores = block.probs =
        Tensor({std::min(n_rows, block_queries * omp_get_max_threads()), n_rows});
    Tensor context(hidden.shape);
    for (std::int64_t image = 0; image < n_images; ++image) {
        for (std::int64_t index = 0; index < n_heads; ++index) {
            const std::int64_t start = image * n_rows * d_model + index * d_head;
            const Head head{query.data() + start,
                            key.data() + start,
                            value.data() + start,
                            padding.data() + image * n_rows,
                            context.data() + start,
                            n_rows,
                            d_head,
                            d_model};
            attend_head(head, block, recorded_scores, recorded_masked, recorded_probs);
        }
    }
    recorded_scores.finish();
    recorded_masked.finish();
    recorded_probs.finish();
    record("context", "image tile patch head channel", context.view(head_shape));

    Tensor output = linear(context, weights.o_proj);
    record("o_proj", "image tile patch channel", output.view());
    return output;
}

}  // namespace pictor
