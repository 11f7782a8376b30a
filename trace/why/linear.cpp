// Linear layers: the sum of input x weight. A logit is followed further, through the last norm to every
// layer that wrote into the state it is read from.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/why/sums.h"

namespace pictor {
namespace {

// Which row of the input and which row of the weights meet in a number.
struct Product {
    std::int64_t row = 0, out = 0;
    Numbers x;
    std::string x_name;
    std::int64_t x_step = 0, d_in = 0;
};

Product product_of(const WhyRun& run, const Ask& ask)
{
    const Numbers y = run.need(ask.name, ask.step);
    std::vector<std::int64_t> indices = ask.indices;
    if (!ask.direction.empty())
        indices.push_back(0);
    const std::int64_t at = position_in(y, ask.name, indices);
    const Operation* const operation = run.side(ask.step).operation_of(ask.name);
    const bool heads_out = std::string_view(operation->axes).ends_with("head channel");
    const std::int64_t d_out = width_of(*y, heads_out ? 2 : 1);
    Product product;
    product.row = at / d_out;
    product.out = at % d_out;
    product.x_name = only_input(run, ask);
    product.x_step = product.x_name == "multi_modal_projector" ? 0 : ask.step;
    product.x = run.need(product.x_name, product.x_step);
    const std::int64_t rows = static_cast<std::int64_t>(y->values.size()) / d_out;
    product.d_in = rows > 0 ? static_cast<std::int64_t>(product.x->values.size()) / rows : 0;
    if (product.d_in < 1 || rows * product.d_in != static_cast<std::int64_t>(product.x->values.size()))
        throw Untold{
            fmt::format("{} and {} have numbers of rows that do not match", ask.name, product.x_name)};
    return product;
}

// The weights of the number asked for; for a direction those of all outputs, joined.
std::vector<double> weights_of(const WhyRun& run, const Ask& ask, const Product& product)
{
    if (ask.direction.empty()) {
        const std::vector<float> row = run.need_row(ask.name, "weight", product.out);
        if (static_cast<std::int64_t>(row.size()) != product.d_in)
            throw Untold{fmt::format("the weights of {} take {} inputs, the trace has {}", ask.name,
                                     row.size(), product.d_in)};
        return {row.begin(), row.end()};
    }
    const auto all = run.need_weight(ask.name, "weight");
    const auto d_out = static_cast<std::int64_t>(ask.direction.size());
    if (static_cast<std::int64_t>(all->size()) != d_out * product.d_in)
        throw Untold{fmt::format("the weights of {} do not have the trace's sizes", ask.name)};
    std::vector<double> joined(static_cast<std::size_t>(product.d_in));
    const float* weight = all->data();
    for (const double share : ask.direction)
        for (double& sum : joined)
            sum += share * *weight++;
    return joined;
}

std::optional<double> bias_of(const WhyRun& run, const Ask& ask, const Product& product)
{
    const std::vector<float> bias = [&] {
        const auto found = run.weights()->find(ask.name, "bias");
        return found ? *found : std::vector<float>{};
    }();
    if (bias.empty())
        return std::nullopt;
    if (ask.direction.empty())
        return product.out < static_cast<std::int64_t>(bias.size())
                   ? std::optional<double>(at(bias, product.out))
                   : std::nullopt;
    double sum = 0;
    for (std::size_t i = 0; i < std::min(bias.size(), ask.direction.size()); ++i)
        sum += ask.direction[i] * bias[i];
    return sum;
}

// What an input channel is called.
std::string channel_text(const WhyRun& run, const Product& product, std::int64_t channel)
{
    const std::vector<std::int64_t>& kept = run.facts().kept_layers;
    const auto n_kept = static_cast<std::int64_t>(kept.size());
    if (product.x_name == "vision_model" && product.d_in % (n_kept + 1) == 0) {
        const std::int64_t width = product.d_in / (n_kept + 1), kept_channel = channel - width;
        if (kept_channel < 0)
            return fmt::format("channel {} of the final state", channel);
        return fmt::format("channel {} of the state kept at layer {}", kept_channel / n_kept,
                           at(kept, kept_channel % n_kept));
    }
    const bool hidden = product.x_name.ends_with("mlp.gated") || product.x_name.ends_with("activation_fn");
    return fmt::format("{} {}", hidden ? "hidden neuron" : "channel", channel);
}

// Probabilities of the row of logits that one is in: what else the next word might have been.
void add_competitors(const WhyRun& run, const Ask& ask, Answer& answer)
{
    constexpr std::size_t shown = 5;
    const Numbers logits = run.need(ask.name, ask.step);
    const std::int64_t n_vocabulary = logits->shape.back();
    const float* const row =
        logits->values.data() + position_in(logits, ask.name, ask.indices) / n_vocabulary * n_vocabulary;
    const double largest = *std::max_element(row, row + n_vocabulary);
    double sum = 0;
    for (std::int64_t id = 0; id < n_vocabulary; ++id)
        sum += std::exp(row[id] - largest);
    std::vector<std::int64_t> order(static_cast<std::size_t>(n_vocabulary));
    for (std::int64_t id = 0; id < n_vocabulary; ++id)
        at(order, id) = id;
    const std::size_t count = std::min(shown, order.size());
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
        [&](std::int64_t x, std::int64_t y) { return row[x] != row[y] ? row[x] > row[y] : x < y; });
    answer.beside_title = "What competes: the likeliest next words";
    for (std::size_t i = 0; i < count; ++i)
        answer.beside.push_back({std::exp(row[order[i]] - largest) / sum, run.word(order[i]),
                                 fmt::format("logit {}", number_text(row[order[i]])), std::nullopt});
}

}  // namespace

void sum_linear(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "a linear layer: the sum of input x weight";
    run.need_weights(ask.name);
    const Product product = product_of(run, ask);
    const std::vector<double> weights = weights_of(run, ask, product);
    const std::optional<double> bias = bias_of(run, ask, product);
    const float* const x = product.x->values.data() + product.row * product.d_in;
    std::vector<double> values;
    for (std::size_t i = 0; i < weights.size(); ++i)
        values.push_back(x[i] * weights[i]);
    if (bias)
        values.push_back(*bias);
    take_terms(answer, values, [&](std::size_t i) -> Term {
        if (i == weights.size())
            return {0, "the bias", "", std::nullopt};
        const auto channel = static_cast<std::int64_t>(i);
        return {0, channel_text(run, product, channel),
                fmt::format("{} x weight {}", number_text(x[i]), number_text(weights[i])),
                Ask{product.x_name,
                    product.x_step,
                    unravel(product.row * product.d_in + channel, product.x->shape),
                    {},
                    ""}};
    });
}

void sum_patch_embedding(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "the convolution: every pixel of the patch x its weight";
    const Numbers pixels = run.need("pixel_values", 0), y = run.need(ask.name, ask.step);
    const std::int64_t place = position_in(y, ask.name, ask.indices);
    const std::int64_t side = run.facts().n_patches > 1
                                  ? std::lround(std::sqrt(static_cast<double>(run.facts().n_patches - 1)))
                                  : 0;
    if (pixels->shape.size() != 5 || y->shape.size() != 4 || side < 1 || y->shape[2] != side * side ||
        pixels->shape[0] != y->shape[0] || pixels->shape[1] != y->shape[1] || pixels->shape[3] % side != 0 ||
        pixels->shape[4] != pixels->shape[3])
        throw Untold{"pixel_values and the patches have sizes that do not match"};
    const std::int64_t colours = pixels->shape[2], size = pixels->shape[3], edge = size / side;
    const std::vector<float> weights = run.need_row(ask.name, "weight", ask.indices[3]);
    if (static_cast<std::int64_t>(weights.size()) != colours * edge * edge)
        throw Untold{fmt::format("the weights of {} do not have the trace's sizes", ask.name)};
    const std::int64_t tile = place / y->shape[3] / y->shape[2], patch = ask.indices[2];
    const auto pixel_at = [&](std::int64_t i) {
        const std::int64_t colour = i / (edge * edge), row = i / edge % edge, column = i % edge;
        return ((tile * colours + colour) * size + patch / side * edge + row) * size + patch % side * edge +
               column;
    };
    std::vector<double> values;
    for (std::size_t i = 0; i < weights.size(); ++i)
        values.push_back(static_cast<double>(at(pixels->values, pixel_at(static_cast<std::int64_t>(i)))) *
                         weights[i]);
    take_terms(answer, values, [&](std::size_t i) -> Term {
        static const char* const names[] = {"red", "green", "blue"};
        const auto n = static_cast<std::int64_t>(i);
        const std::int64_t colour = n / (edge * edge), position = pixel_at(n);
        return {
            0,
            fmt::format("{} at row {}, column {} of the patch",
                        colour < 3 ? names[colour] : fmt::format("colour {}", colour).c_str(),
                        n / edge % edge, n % edge),
            fmt::format("{} x weight {}", number_text(at(pixels->values, position)), number_text(weights[i])),
            Ask{"pixel_values", 0, unravel(position, pixels->shape), {}, ""}};
    });
}

void sum_logit(const WhyRun& run, const Ask& ask, Answer& answer)
{
    add_competitors(run, ask, answer);
    const Numbers normed = run.need("language_model.norm", ask.step);
    const Ask of_norm{"language_model.norm", ask.step, {ask.indices[0], 0}, {}, ""};
    const std::string state = only_input(run, of_norm);
    const std::int64_t d_model = normed->shape.empty() ? 0 : normed->shape.back(), id = ask.indices.back();
    const std::vector<float> weights = run.need_row("lm_head", "weight", id);
    const auto scales = run.need_weight("language_model.norm", "weight");
    if (d_model < 1 || static_cast<std::int64_t>(weights.size()) != d_model ||
        scales->size() != weights.size())
        throw Untold{"the weights of lm_head do not have the trace's sizes"};
    const Numbers x = run.need(state, ask.step);
    const std::int64_t start = position_in(x, state, {ask.indices[0], 0});
    double square = 0;
    for (std::int64_t channel = 0; channel < d_model; ++channel) {
        const double value = at(x->values, start + channel);
        square += value * value;
    }
    const double scale = 1 / std::sqrt(square / static_cast<double>(d_model) + run.facts().rms_eps);
    Ask read{state, ask.step, {ask.indices[0]}, {}, fmt::format("the logit of {}", run.word(id))};
    for (std::size_t channel = 0; channel < weights.size(); ++channel)
        read.direction.push_back(static_cast<double>(weights[channel]) * (*scales)[channel] * scale);
    answer.how =
        "what the embedding and every layer added to the state, read out by the last norm and the LM head";
    take_terms(answer, stream_terms(run, read));
}

}  // namespace pictor
