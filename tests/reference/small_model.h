// For the tests of the steps between a model's tensors: random weights in memory, and the arithmetic once
// more in double, as plain as can be and without a look at reference/.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "base/at.h"
#include "reference/model.h"

namespace pictor_test {

using pictor::Matrix;
using pictor::Shape;
using pictor::Tensor;

// Makes random weights and owns the memory that matrices point into. The same on every platform.
class RandomWeights {
public:
    explicit RandomWeights(std::uint32_t seed) : random_(seed) {}

    float number(float spread = 1.0f, float middle = 0.0f)
    {
        return middle + spread * (static_cast<float>(random_() >> 8) * 0x1p-23f - 1.0f);
    }
    Tensor tensor(const Shape& shape, float spread = 1.0f, float middle = 0.0f)
    {
        Tensor tensor(shape);
        for (float& value : tensor.values)
            value = number(spread, middle);
        return tensor;
    }
    // Outputs are about as large as inputs.
    Matrix matrix(std::int64_t n_out, std::int64_t n_in)
    {
        kept_->push_back(tensor({n_out, n_in}, 1.7f / std::sqrt(static_cast<float>(n_in))).values);
        return {kept_->back().data(), pictor::DType::f32, n_out, n_in, "random"};
    }
    pictor::LayerNormWeights layer_norm(std::int64_t d)
    {
        return {tensor({d}, 0.5f, 1.0f), tensor({d}, 0.3f)};
    }

private:
    std::mt19937 random_;
    std::shared_ptr<std::deque<std::vector<float>>> kept_ =
        std::make_shared<std::deque<std::vector<float>>>();
};

// All sizes differ, so that one taken for another shows.
inline pictor::TextConfig small_text_config()
{
    pictor::TextConfig config;
    config.n_vocabulary = 21;
    config.d_model = 20;
    config.n_layers = 4;
    config.n_heads = 4;
    config.n_kv_heads = 2;
    config.d_head = 6;
    config.d_mlp = 14;
    config.cross_attention_layers = {1, 3};
    config.max_positions = 64;
    config.rope.theta = 100.0;
    return config;
}

inline pictor::VisionConfig small_vision_config()
{
    pictor::VisionConfig config;
    config.d_model = 10;
    config.n_layers = 4;
    config.n_global_layers = 2;
    config.n_heads = 2;
    config.d_head = 5;
    config.d_mlp = 13;
    config.tile_size = 6;
    config.patch_size = 3;  // 2 x 2 patches and the class token: 5 rows, filled up to 8
    config.max_tiles = 3;
    config.kept_layers = {0, 2};
    config.aspect_ratios = {{1, 1}, {1, 2}, {1, 3}, {2, 1}, {3, 1}};
    return config;
}

inline pictor::CrossAttentionWeights random_cross_attention(RandomWeights& random,
                                                            const pictor::TextConfig& config)
{
    const std::int64_t n_query = config.n_heads * config.d_head, n_key = config.n_kv_heads * config.d_head;
    return {random.matrix(n_query, config.d_model),     random.matrix(n_key, config.d_model),
            random.matrix(n_key, config.d_model),       random.matrix(config.d_model, n_query),
            random.tensor({config.d_head}, 1.0f, 1.5f), random.tensor({config.d_head}, 1.0f, 1.5f)};
}

inline pictor::SelfAttentionWeights random_self_attention(RandomWeights& random,
                                                          const pictor::TextConfig& config)
{
    const std::int64_t n_query = config.n_heads * config.d_head, n_key = config.n_kv_heads * config.d_head;
    return {random.matrix(n_query, config.d_model), random.matrix(n_key, config.d_model),
            random.matrix(n_key, config.d_model), random.matrix(config.d_model, n_query)};
}

inline pictor::TextMlpWeights random_text_mlp(RandomWeights& random, const pictor::TextConfig& config)
{
    return {random.matrix(config.d_mlp, config.d_model), random.matrix(config.d_mlp, config.d_model),
            random.matrix(config.d_model, config.d_mlp)};
}

inline pictor::TextWeights random_text_weights(RandomWeights& random, const pictor::TextConfig& config)
{
    pictor::TextWeights weights;
    weights.embed_tokens = random.matrix(config.n_vocabulary + 8, config.d_model);
    for (std::int64_t index = 0; index < config.n_layers; ++index) {
        pictor::TextLayerWeights layer;
        layer.is_cross = config.is_cross_attention_layer(index);
        layer.input_layernorm = random.tensor({config.d_model}, 0.5f, 1.0f);
        layer.post_attention_layernorm = random.tensor({config.d_model}, 0.5f, 1.0f);
        layer.mlp = random_text_mlp(random, config);
        if (layer.is_cross) {
            layer.cross_attention = random_cross_attention(random, config);
            layer.attention_gate = random.number(0.5f, 1.2f);
            layer.mlp_gate = random.number(0.5f, -1.2f);
        } else {
            layer.self_attention = random_self_attention(random, config);
        }
        weights.layers.push_back(layer);
    }
    weights.norm = random.tensor({config.d_model}, 0.5f, 1.0f);
    weights.lm_head = random.matrix(config.n_vocabulary, config.d_model);
    return weights;
}

inline pictor::VisionLayerWeights random_vision_layer(RandomWeights& random,
                                                      const pictor::VisionConfig& config, bool is_global)
{
    const std::int64_t d = config.d_model;
    pictor::VisionLayerWeights layer;
    layer.input_layernorm = random.layer_norm(d);
    layer.q_proj = random.matrix(d, d);
    layer.k_proj = random.matrix(d, d);
    layer.v_proj = random.matrix(d, d);
    layer.o_proj = random.matrix(d, d);
    layer.post_attention_layernorm = random.layer_norm(d);
    layer.fc1 = random.matrix(config.d_mlp, d);
    layer.fc1_bias = random.tensor({config.d_mlp}, 0.5f);
    layer.fc2 = random.matrix(d, config.d_mlp);
    layer.fc2_bias = random.tensor({d}, 0.5f);
    layer.is_global = is_global;
    if (is_global) {
        layer.gate_attn = random.number(0.5f, 1.2f);
        layer.gate_ffn = random.number(0.5f, -1.2f);
    }
    return layer;
}

inline pictor::VisionWeights random_vision_weights(RandomWeights& random, const pictor::VisionConfig& config)
{
    const std::int64_t d = config.d_model, n_ids = static_cast<std::int64_t>(config.aspect_ratios.size()) + 1;
    pictor::VisionWeights weights;
    weights.patch_embedding = random.matrix(d, 3 * config.patch_size * config.patch_size);
    weights.class_embedding = random.tensor({d});
    weights.pre_tile_gate = 0.8f;
    weights.pre_tile_embedding = random.tensor({n_ids, config.max_tiles, d});
    weights.post_tile_gate = -1.1f;
    weights.post_tile_embedding = random.tensor({n_ids, config.max_tiles, d});
    weights.position_gate = 0.7f;
    weights.position_embedding = random.tensor({config.n_patches(), d});
    weights.tile_position_embedding = random.tensor({n_ids, config.max_tiles, config.n_patches() * d});
    weights.layernorm_pre = random.layer_norm(d);
    weights.layernorm_post = random.layer_norm(d);
    for (std::int64_t index = 0; index < config.n_layers; ++index)
        weights.layers.push_back(random_vision_layer(random, config, false));
    for (std::int64_t index = 0; index < config.n_global_layers; ++index)
        weights.global_layers.push_back(random_vision_layer(random, config, true));
    return weights;
}

// A picture per entry of `ids_and_tiles`: aspect ratio id, and how many of its tiles exist.
inline pictor::VisionInputs random_images(
    RandomWeights& random, const pictor::VisionConfig& config,
    const std::vector<std::pair<std::int64_t, std::int64_t>>& ids_and_tiles)
{
    pictor::VisionInputs images;
    const std::int64_t n_images = static_cast<std::int64_t>(ids_and_tiles.size());
    images.pixel_values = Tensor({n_images, config.max_tiles, 3, config.tile_size, config.tile_size});
    for (std::int64_t image = 0; image < n_images; ++image) {
        const auto [id, n_present] = pictor::at(ids_and_tiles, image);
        images.aspect_ratio_ids.push_back(id);
        for (std::int64_t tile = 0; tile < config.max_tiles; ++tile) {
            images.aspect_ratio_mask.push_back(tile < n_present ? 1 : 0);
            float* pixels = images.pixel_values.row(image, tile);
            for (std::int64_t i = 0; tile < n_present && i < 3 * config.tile_size * config.tile_size; ++i)
                pixels[i] = random.number(2.0f);
        }
    }
    return images;
}

// Every tensor as rows of its last axis, in double.
using Row = std::vector<double>;
using Rows = std::vector<Row>;

inline Rows rows_of(const Tensor& tensor)
{
    const std::size_t width = static_cast<std::size_t>(tensor.shape.back());
    Rows rows;
    for (std::size_t start = 0; start < tensor.values.size(); start += width)
        rows.emplace_back(tensor.values.begin() + static_cast<std::ptrdiff_t>(start),
                          tensor.values.begin() + static_cast<std::ptrdiff_t>(start + width));
    return rows;
}

inline Rows linear_in_double(const Rows& x, const Matrix& weight, const Tensor& bias = {})
{
    std::vector<float> row_of_weight(static_cast<std::size_t>(weight.n_in));
    Rows y(x.size(), Row(static_cast<std::size_t>(weight.n_out)));
    for (std::size_t out = 0; out < static_cast<std::size_t>(weight.n_out); ++out) {
        weight.widen_row(static_cast<std::int64_t>(out), row_of_weight.data());
        for (std::size_t row = 0; row < x.size(); ++row) {
            double sum = bias.empty() ? 0.0 : bias.values[out];
            for (std::size_t in = 0; in < row_of_weight.size(); ++in)
                sum += x[row][in] * row_of_weight[in];
            y[row][out] = sum;
        }
    }
    return y;
}

// Rows may be several heads long: each stretch of the weight's length is normalised by itself.
inline Rows rms_norm_in_double(Rows x, const Tensor& weight, double eps)
{
    const std::size_t width = weight.values.size();
    for (Row& row : x) {
        for (std::size_t start = 0; start < row.size(); start += width) {
            double square_sum = 0;
            for (std::size_t i = 0; i < width; ++i)
                square_sum += row[start + i] * row[start + i];
            for (std::size_t i = 0; i < width; ++i)
                row[start + i] *= weight.values[i] / std::sqrt(square_sum / static_cast<double>(width) + eps);
        }
    }
    return x;
}

inline Rows layer_norm_in_double(Rows x, const pictor::LayerNormWeights& weights, double eps)
{
    for (Row& row : x) {
        double mean = 0, variance = 0;
        for (double value : row)
            mean += value / static_cast<double>(row.size());
        for (double value : row)
            variance += (value - mean) * (value - mean) / static_cast<double>(row.size());
        for (std::size_t i = 0; i < row.size(); ++i)
            row[i] = (row[i] - mean) / std::sqrt(variance + eps) * weights.weight.values[i] +
                     weights.bias.values[i];
    }
    return x;
}

inline double silu_in_double(double x) { return x / (1 + std::exp(-x)); }
inline double gelu_in_double(double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; }

inline Rows add_in_double(Rows a, const Rows& b, double factor = 1)
{
    for (std::size_t row = 0; row < a.size(); ++row)
        for (std::size_t i = 0; i < a[row].size(); ++i)
            a[row][i] += factor * b[row][i];
    return a;
}

// visible(query, key); a query must see something. query [n][n_heads * d_head], keys and values
// [m][n_kv_heads * d_head].
inline Rows attend_in_double(const Rows& query, const Rows& keys, const Rows& values, std::int64_t n_heads,
                             std::int64_t n_kv_heads,
                             const std::function<bool(std::size_t, std::size_t)>& visible)
{
    const std::size_t d_head = query[0].size() / static_cast<std::size_t>(n_heads);
    Rows context(query.size(), Row(query[0].size()));
    for (std::size_t head = 0; head < static_cast<std::size_t>(n_heads); ++head) {
        const std::size_t at = head * d_head,
                          kv_at = head / static_cast<std::size_t>(n_heads / n_kv_heads) * d_head;
        for (std::size_t row = 0; row < query.size(); ++row) {
            Row weight(keys.size());
            double sum = 0;
            for (std::size_t key = 0; key < keys.size(); ++key) {
                double score = 0;
                for (std::size_t i = 0; i < d_head; ++i)
                    score += query[row][at + i] * keys[key][kv_at + i];
                weight[key] =
                    visible(row, key) ? std::exp(score / std::sqrt(static_cast<double>(d_head))) : 0.0;
                sum += weight[key];
            }
            for (std::size_t key = 0; key < keys.size(); ++key)
                for (std::size_t i = 0; i < d_head; ++i)
                    context[row][at + i] += weight[key] / sum * values[key][kv_at + i];
        }
    }
    return context;
}

// Largest difference, measured in standard deviations of b. Infinite for other shapes and for NaN.
inline double distance(const Rows& a, const Rows& b)
{
    double count = 0, sum = 0, square_sum = 0, worst = 0;
    if (a.size() != b.size() || b.empty())
        return std::numeric_limits<double>::infinity();
    for (std::size_t row = 0; row < b.size(); ++row) {
        if (a[row].size() != b[row].size())
            return std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < b[row].size(); ++i) {
            const double difference = std::fabs(a[row][i] - b[row][i]);
            if (!(difference <= worst))
                worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
            count += 1;
            sum += b[row][i];
            square_sum += b[row][i] * b[row][i];
        }
    }
    const double deviation = std::sqrt(square_sum / count - sum / count * (sum / count));
    return worst == 0 ? 0 : worst / deviation;
}
inline double distance(const Tensor& a, const Rows& b) { return distance(rows_of(a), b); }
inline double distance(const Tensor& a, const Tensor& b)
{
    return a.shape == b.shape ? distance(rows_of(a), rows_of(b)) : std::numeric_limits<double>::infinity();
}

// What float32 may cost a step or a whole small model against double, and what a real mistake costs at least.
// Measured over the tests: the largest of the first kind is 5e-6, the smallest of the second 0.26.
constexpr double rounding = 2e-5;
constexpr double plainly_visible = 0.1;

}  // namespace pictor_test
