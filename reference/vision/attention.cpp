#include "reference/vision/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <omp.h>

#include "base/at.h"
#include "reference/math/dot.h"
#include "reference/math/linear.h"
#include "reference/math/score_block.h"
#include "reference/math/softmax.h"

namespace pictor {

namespace {

constexpr std::int64_t block_tokens = 48;        // queries of a thread at a time: 48 x 6432 scores are 1.2 MB
constexpr std::int64_t worth_threads = 1 << 18;  // multiplications; with fewer, waking a thread takes longer

// The attention itself, in plain loops. A token here is a row of an image: a patch, class token or padding.
// query, keys, values, context [n_images][n_tokens][n_heads][d_head]; padding [n_images][n_tokens].
void attend_plain(const Tensor& query, const Tensor& keys, const Tensor& values,
                  const std::vector<std::uint8_t>& padding, ScoreBlock& block, Tensor& context)
{
    const std::int64_t n_images = query.extent(0), n_tokens = query.extent(1), n_heads = query.extent(2);
    const std::int64_t n_keys = n_tokens, d_head = query.extent(3);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));
    for (std::int64_t image = 0; image < n_images; ++image) {
        for (std::int64_t head = 0; head < n_heads; ++head) {
            for (std::int64_t first = 0; first < n_tokens; first += block.n_rows()) {
                const std::int64_t end = std::min(first + block.n_rows(), n_tokens);
#pragma omp parallel for if ((end - first) * n_keys * d_head > worth_threads)
                for (std::int64_t token = first; token < end; ++token) {
                    const std::int64_t row = token - first;
                    for (std::int64_t key = 0; key < n_keys; ++key)
                        block.scores(row, key) =
                            dot(query.row(image, token, head), keys.row(image, key, head), d_head) * scale;

                    // TRAP(padding_masks_padding_only): only where BOTH query and key are padding. Real
                    // patches do look at padding rows and at absent tiles; it looks like a bug, and it is
                    // what the weights were trained with.
                    const bool query_is_padding = at(padding, image * n_tokens + token) != 0;
                    for (std::int64_t key = 0; key < n_keys; ++key) {
                        const bool visible = !query_is_padding || at(padding, image * n_tokens + key) == 0;
                        block.masked_scores(row, key) =
                            visible ? block.scores(row, key) : std::numeric_limits<float>::lowest();
                    }

                    softmax_row(block.masked_scores.row(row), n_keys, block.probs.row(row));

                    for (std::int64_t key = 0; key < n_keys; ++key)
                        add_scaled(block.probs(row, key), values.row(image, key, head), d_head,
                                   context.row(image, token, head));
                }
                block.append(end - first);
            }
        }
    }
}

// The same for the tokens first ... end - 1 of one head of one image, its keys and values in packed panels.
// Pointers are at the image's first row; rows of query and context are d_model apart.
void attend_panels(const float* query, const Panels& keys, const Panels& values, const std::uint8_t* padding,
                   std::int64_t first, std::int64_t end, std::int64_t d_model, ScoreBlock& block,
                   float* context)
{
    const std::int64_t n_keys = keys.n_out, d_head = keys.n_in;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d_head));
#pragma omp parallel for schedule(static) if ((end - first) * n_keys * d_head > worth_threads)
    for (std::int64_t start = first; start < end; start += block_tokens) {
        const std::int64_t n_tokens = std::min(block_tokens, end - start), row = start - first;
        multiply_panels(query + start * d_model, n_tokens, d_model, keys, block.scores.row(row), n_keys);
        for (std::int64_t i = 0; i < n_tokens; ++i) {
            const bool query_is_padding = padding[start + i] != 0;
            float* scores = block.scores.row(row + i);
            float* masked_scores = block.masked_scores.row(row + i);
            for (std::int64_t key = 0; key < n_keys; ++key) {
                scores[key] *= scale;
                const bool masked = query_is_padding && padding[key] != 0;
                masked_scores[key] = masked ? std::numeric_limits<float>::lowest() : scores[key];
            }
            softmax_row(masked_scores, n_keys, block.probs.row(row + i));
        }
        multiply_panels(block.probs.row(row), n_tokens, n_keys, values, context + start * d_model, d_model);
    }
}

// What the fast build runs instead of attend_plain: at 6432 rows the two products are as much work as all the
// linear layers together.
void attend_fast(const Tensor& query, const Tensor& keys, const Tensor& values,
                 const std::vector<std::uint8_t>& padding, ScoreBlock& block, Tensor& context)
{
    const std::int64_t n_images = query.extent(0), n_tokens = query.extent(1), n_heads = query.extent(2);
    const std::int64_t d_head = query.extent(3), d_model = n_heads * d_head;
    for (std::int64_t image = 0; image < n_images; ++image) {
        for (std::int64_t head = 0; head < n_heads; ++head) {
            const Panels packed_keys = pack_panels(keys.row(image, 0, head), n_tokens, d_head, d_model, 1);
            const Panels packed_values =
                pack_panels(values.row(image, 0, head), d_head, n_tokens, 1, d_model);
            for (std::int64_t first = 0; first < n_tokens; first += block.n_rows()) {
                const std::int64_t end = std::min(first + block.n_rows(), n_tokens);
                attend_panels(query.row(image, 0, head), packed_keys, packed_values,
                              padding.data() + image * n_tokens, first, end, d_model, block,
                              context.row(image, 0, head));
                block.append(end - first);
            }
        }
    }
}

}  // namespace

Tensor vision_attention(const VisionLayerWeights& weights, const VisionConfig& config, const Tensor& hidden,
                        const std::vector<std::uint8_t>& padding, const Recorder& record)
{
    const std::int64_t n_images = hidden.extent(0), n_tiles = hidden.extent(1), n_rows = hidden.extent(2);
    const std::int64_t n_heads = config.n_heads, d_head = config.d_head;
    const std::int64_t n_tokens = n_tiles * n_rows;  // an image's tiles are one long sequence
    require_shape("vision_attention hidden", hidden, {-1, -1, -1, config.d_model});
    const Shape by_tile{n_images, n_tiles, n_rows, n_heads, d_head};
    const Shape by_image{n_images, n_tokens, n_heads, d_head};

    const Tensor query = reshaped(linear(hidden, weights.q_proj), by_image);
    record("q_proj", "image tile patch head channel", query.view(by_tile));
    const Tensor keys = reshaped(linear(hidden, weights.k_proj), by_image);
    record("k_proj", "image tile patch head channel", keys.view(by_tile));
    const Tensor values = reshaped(linear(hidden, weights.v_proj), by_image);
    record("v_proj", "image tile patch head channel", values.view(by_tile));

    ScoreBlock block(record, "image head query key", {n_images, n_heads, n_tokens, n_tokens},
                     block_tokens * omp_get_max_threads());
    Tensor context(by_image);
    if (use_plain_loops)
        attend_plain(query, keys, values, padding, block, context);
    else
        attend_fast(query, keys, values, padding, block, context);
    block.finish();
    record("context", "image tile patch head channel", context.view(by_tile));

    Tensor output = linear(reshaped(std::move(context), hidden.shape), weights.o_proj);
    record("o_proj", "image tile patch channel", output.view());
    return output;
}

}  // namespace pictor
