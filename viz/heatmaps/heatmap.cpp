#include "viz/heatmaps/heatmap.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"

namespace pictor {
namespace {

using Heads = std::vector<std::vector<double>>;

// TRAP(all_zero_bias_rows): a row that may see no picture has an all-zero bias, so its recorded attention
// spreads over every key and looks real. It must not be drawn.
bool sees_nothing(const Run& run, const RowPlace& row, std::int64_t picture)
{
    return !run.row_sees(row, picture);
}

std::vector<double> max_over_heads(const Heads& heads)
{
    std::vector<double> most = heads[0];
    for (const auto& head : heads)
        for (std::size_t key = 0; key < most.size(); ++key)
            most[key] = std::max(most[key], head[key]);
    return most;
}

// How many heads share a key: entropy over the heads of their parts in its attention.
std::vector<double> entropy_over_heads(const Heads& heads)
{
    std::vector<double> result(heads[0].size());
    for (std::size_t key = 0; key < result.size(); ++key) {
        std::vector<double> parts;
        for (const auto& head : heads)
            parts.push_back(head[key]);
        result[key] = entropy_bits(parts);
    }
    return result;
}

// tanh(gate) is no tensor of its own: it is what turned o_proj into gated.
double read_gate(const Run& run, std::int64_t layer, std::int64_t step)
{
    const TraceTensor& before = run.tensor(layer_name(layer) + ".cross_attn.o_proj", step);
    const TraceTensor& after = run.tensor(layer_name(layer) + ".cross_attn.gated", step);
    if (before.values.size() != after.values.size())
        throw std::runtime_error(
            fmt::format("{}: cross_attn.o_proj and cross_attn.gated of layer {} differ in size",
                        run.trace().folder().string(), layer));
    double product = 0, square = 0;
    for (std::size_t i = 0; i < before.values.size(); ++i) {
        product += static_cast<double>(before.values[i]) * after.values[i];
        square += static_cast<double>(before.values[i]) * before.values[i];
    }
    return square > 0 ? product / square : 0;
}

// Multiplies each probability by the length of the value vector it moves.
void weigh_by_values(const Run& run, std::int64_t layer, Heads& heads)
{
    const TraceTensor& values = run.tensor(layer_name(layer) + ".cross_attn.v_proj", 0);
    const auto n_keys = static_cast<std::int64_t>(heads[0].size());
    const auto n_heads = static_cast<std::int64_t>(heads.size());
    if (values.shape.size() != 3 || values.shape[0] != n_keys || values.shape[1] < 1 ||
        n_heads % values.shape[1] != 0)
        throw std::runtime_error(
            fmt::format("{}: cross_attn.v_proj of layer {} is not [{} keys, key heads, channels]",
                        run.trace().folder().string(), layer, n_keys));
    const std::int64_t n_kv_heads = values.shape[1], channels = values.shape[2];
    for (std::int64_t head = 0; head < n_heads; ++head) {
        const std::int64_t kv_head = head / (n_heads / n_kv_heads);
        for (std::int64_t key = 0; key < n_keys; ++key) {
            double square = 0;
            for (std::int64_t channel = 0; channel < channels; ++channel) {
                const double v = at(values.values, (key * n_kv_heads + kv_head) * channels + channel);
                square += v * v;
            }
            at(at(heads, head), key) *= std::sqrt(square);
        }
    }
}

std::int64_t most_read_picture(const Run& run, const RowPlace& row, const std::vector<double>& keys)
{
    const std::int64_t max_tiles = run.max_tiles(static_cast<std::int64_t>(keys.size()));
    std::int64_t best = 0;
    double most = -1;
    for (std::size_t p = 0; p < run.pictures().size(); ++p) {
        const auto picture = static_cast<std::int64_t>(p);
        const double share = sees_nothing(run, row, picture)
                                 ? 0
                                 : make_ledger(run.pictures()[p].geometry, keys, picture, max_tiles).picture;
        if (share > most) {
            most = share;
            best = picture;
        }
    }
    return best;
}

double sum_of(const std::vector<double>& values)
{
    double sum = 0;
    for (const double value : values)
        sum += value;
    return sum;
}

}  // namespace

std::vector<double> mean_over_heads(const Heads& heads)
{
    std::vector<double> mean(heads[0].size(), 0.0);
    for (const auto& head : heads)
        for (std::size_t key = 0; key < mean.size(); ++key)
            mean[key] += head[key];
    for (double& value : mean)
        value /= static_cast<double>(heads.size());
    return mean;
}

void read_head(const std::string& text, std::int64_t n_heads, HeatRequest& request)
{
    if (text == "mean")
        request.heads = HeadChoice::mean;
    else if (text == "max")
        request.heads = HeadChoice::max;
    else if (text == "entropy")
        request.heads = HeadChoice::entropy;
    else {
        const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), request.head);
        if (text.empty() || problem != std::errc() || end != text.data() + text.size() || request.head < 0 ||
            request.head >= n_heads)
            throw std::runtime_error(
                fmt::format("--head {}: mean, max, entropy or 0 to {} would be right", text, n_heads - 1));
        request.heads = HeadChoice::one;
    }
}

std::int64_t choose_layer(const Run& run, std::int64_t wanted)
{
    const auto& layers = run.cross_layers();
    if (layers.empty())
        throw std::runtime_error(fmt::format(
            "{}: holds no cross-attention probabilities; record a run with a picture, with --trace-only "
            "'*cross_attn.probs' or everything",
            run.trace().folder().string()));
    if (wanted < 0)
        return layers.back();
    if (std::find(layers.begin(), layers.end(), wanted) == layers.end())
        throw std::runtime_error(fmt::format("--layer {}: the trace has cross-attention in layers {}", wanted,
                                             fmt::join(layers, ", ")));
    return wanted;
}

std::int64_t most_pointed_token(const Run& run, std::int64_t layer)
{
    std::int64_t best = -1;
    double most = -1;
    for (std::int64_t token = std::max<std::int64_t>(1, run.n_prompt()); token < run.n_tokens(); ++token) {
        if (!run.row_predicting(token) || run.word_at(token).starts_with("<|"))
            continue;
        HeatRequest request;
        request.layer = layer;
        request.token = token;
        const Heat heat = make_heat(run, request);
        if (!heat.no_effect && strongest(heat) > most) {
            most = strongest(heat);
            best = token;
        }
    }
    if (best < 0)
        throw std::runtime_error(
            fmt::format("{}: no word of the answer may see a picture; name a word with --token",
                        run.trace().folder().string()));
    return best;
}

Heat make_heat(const Run& run, const HeatRequest& request)
{
    const auto row = run.row_predicting(request.token);
    if (!row)
        throw std::runtime_error(fmt::format("token {}: {}", request.token,
                                             request.token == 0
                                                 ? "no row predicts the first token"
                                                 : "the trace has no step with the row that predicts it"));
    Heads heads = run.cross_probs(request.layer, *row);
    if (request.heads == HeadChoice::one && request.head >= static_cast<std::int64_t>(heads.size()))
        throw std::runtime_error(
            fmt::format("head {}: layer {} has {} heads", request.head, request.layer, heads.size()));
    Heat heat;
    heat.request = request;
    heat.row = *row;
    heat.row_sum =
        sum_of(request.heads == HeadChoice::one ? at(heads, request.head) : mean_over_heads(heads));
    for (const auto& head : heads)  // of the attention itself, however it is weighed afterwards
        heat.head_bits.push_back(entropy_bits(head));
    heat.drawn_bits = request.heads == HeadChoice::one ? at(heat.head_bits, request.head)
                                                       : entropy_bits(mean_over_heads(heads));
    heat.most_bits = std::log2(std::max<double>(
        1, static_cast<double>(run.keys_seen(*row, static_cast<std::int64_t>(heads[0].size())))));
    if (request.weigh_values) {
        weigh_by_values(run, request.layer, heads);
        heat.gate = read_gate(run, request.layer, row->step);
        heat.gate_closed = heat.gate == 0;
        for (auto& head : heads)
            for (double& value : head)
                value *= std::abs(heat.gate);
    }
    const std::vector<double> mean = mean_over_heads(heads);
    if (heat.request.picture < 0)
        heat.request.picture = most_read_picture(run, *row, mean);
    if (heat.request.picture >= static_cast<std::int64_t>(run.pictures().size()))
        throw std::runtime_error(fmt::format("--image {}: the run has pictures 0 to {}", heat.request.picture,
                                             run.pictures().size() - 1));
    heat.geometry = at(run.pictures(), heat.request.picture).geometry;
    heat.no_effect = sees_nothing(run, *row, heat.request.picture);

    const std::int64_t max_tiles = run.max_tiles(static_cast<std::int64_t>(mean.size()));
    const std::vector<double> keys = request.heads == HeadChoice::one       ? at(heads, request.head)
                                     : request.heads == HeadChoice::max     ? max_over_heads(heads)
                                     : request.heads == HeadChoice::entropy ? entropy_over_heads(heads)
                                                                            : mean;
    heat.grid = lay_out(heat.geometry, keys, heat.request.picture, max_tiles);
    heat.ledger = make_ledger(heat.geometry, request.heads == HeadChoice::one ? keys : mean,
                              heat.request.picture, max_tiles);
    if (heat.no_effect)
        std::fill(heat.grid.begin(), heat.grid.end(), 0.0);
    return heat;
}

std::optional<GridPlace> strongest_place(const Heat& heat)
{
    std::optional<GridPlace> best;
    double most = 0;
    for (std::int64_t row = 0; row < heat.geometry.grid_rows(); ++row)
        for (std::int64_t column = 0; column < heat.geometry.grid_columns(); ++column) {
            const double value = at(heat.grid, row * heat.geometry.grid_columns() + column);
            if (value > most && share_on_picture(heat.geometry, {row, column}) > 0) {
                most = value;
                best = GridPlace{row, column};
            }
        }
    return best;
}

double strongest(const Heat& heat)
{
    const auto place = strongest_place(heat);
    return place ? at(heat.grid, place->row * heat.geometry.grid_columns() + place->column) : 0;
}

VisionHeat make_vision_heat(const Run& run, const std::string& layer, const std::string& head,
                            std::int64_t picture, GridPlace query)
{
    const bool is_global = layer.starts_with("global.");
    const std::string index = layer.substr(layer.find('.') + 1);
    if ((!is_global && !layer.starts_with("vision.")) || index.empty() ||
        index.find_first_not_of("0123456789") != std::string::npos)
        throw std::runtime_error(
            fmt::format("--layer {}: vision.N or global.N would be right", visible_text(layer)));
    const std::string name = fmt::format("vision_model.{}.layers.{}.self_attn.probs",
                                         is_global ? "global_transformer" : "transformer", index);
    const auto n_pictures = static_cast<std::int64_t>(run.pictures().size());
    if (picture < 0 || picture >= n_pictures)
        throw std::runtime_error(fmt::format("--image {}: the run has {} pictures", picture, n_pictures));
    VisionHeat heat;
    heat.picture = picture;
    heat.query = query;
    heat.geometry = at(run.pictures(), picture).geometry;
    const auto& g = heat.geometry;
    if (query.row < 0 || query.column < 0 || query.row >= g.grid_rows() || query.column >= g.grid_columns())
        throw std::runtime_error(fmt::format("--patch {},{}: rows 0 to {} and columns 0 to {} would be right",
                                             query.row, query.column, g.grid_rows() - 1,
                                             g.grid_columns() - 1));
    const TraceTensor& probs = run.tensor(name, 0);
    const std::int64_t rows_per_tile = (g.patches_per_tile() + 7) / 8 * 8;
    if (probs.shape.size() != 4 || probs.shape[0] != n_pictures || probs.shape[1] < 1 ||
        probs.shape[2] != probs.shape[3] || probs.shape[3] % rows_per_tile != 0 ||
        probs.shape[3] / rows_per_tile < g.tile_rows * g.tile_columns)
        throw std::runtime_error(
            fmt::format("{}: {} is not [{} images, heads, queries, keys] with {} rows per tile",
                        run.trace().folder().string(), name, n_pictures, rows_per_tile));
    HeatRequest request;
    read_head(head, probs.shape[1], request);
    if (request.heads == HeadChoice::entropy)
        throw std::runtime_error(
            "--head entropy: is for cross-attention; mean, max or a number would be right");
    const std::int64_t n_keys = probs.shape[3], max_tiles = n_keys / rows_per_tile;
    const TilePatch key = key_of(g, query);
    Heads heads;
    for (std::int64_t h = 0; h < probs.shape[1]; ++h) {
        const auto first =
            probs.values.begin() +
            ((picture * probs.shape[1] + h) * n_keys + key.tile * rows_per_tile + key.patch) * n_keys;
        heads.emplace_back(first, first + n_keys);
        for (const double p : heads.back())
            if (!std::isfinite(p) || p < 0)
                throw std::runtime_error(fmt::format("{}: {} holds {}, which is no probability",
                                                     run.trace().folder().string(), name, p));
    }
    const std::vector<double> shown = request.heads == HeadChoice::one   ? at(heads, request.head)
                                      : request.heads == HeadChoice::max ? max_over_heads(heads)
                                                                         : mean_over_heads(heads);
    heat.layer_title = fmt::format("{} layer {}", is_global ? "global vision" : "vision", index);
    heat.head_text = head_text(request, probs.shape[1]);
    heat.grid = lay_out(g, shown, 0, max_tiles, rows_per_tile);
    heat.ledger = make_ledger(g, request.heads == HeadChoice::one ? shown : mean_over_heads(heads), 0,
                              max_tiles, rows_per_tile);
    return heat;
}

double entropy_bits(const std::vector<double>& probabilities)
{
    const double sum = sum_of(probabilities);
    double bits = 0;
    for (const double p : probabilities)
        if (p > 0 && sum > 0)
            bits -= p / sum * std::log2(p / sum);
    return std::max(0.0, bits);
}

std::string spread_text(double bits, double most_bits)
{
    return fmt::format("{:.1f} of at most {:.1f} bits, as wide as {:.0f} of {:.0f} keys read alike", bits,
                       most_bits, std::exp2(bits), std::exp2(most_bits));
}

std::string head_text(const HeatRequest& request, std::int64_t n_heads)
{
    switch (request.heads) {
    case HeadChoice::one:
        return fmt::format("head {}", request.head);
    case HeadChoice::mean:
        return fmt::format("mean of {} heads", n_heads);
    case HeadChoice::max:
        return fmt::format("maximum of {} heads", n_heads);
    case HeadChoice::entropy:
        return fmt::format("entropy over {} heads", n_heads);
    }
    return "";
}

std::string heat_json(const Run& run, const Heat& heat)
{
    const auto& g = heat.geometry;
    nlohmann::ordered_json result;
    result["layer"] = heat.request.layer;
    result["head"] = heat.request.heads == HeadChoice::one
                         ? nlohmann::ordered_json(heat.request.head)
                         : nlohmann::ordered_json(heat.request.heads == HeadChoice::mean  ? "mean"
                                                  : heat.request.heads == HeadChoice::max ? "max"
                                                                                          : "entropy");
    result["weight"] = heat.request.weigh_values ? "values" : "attention";
    result["token"] = {{"index", heat.request.token},
                       {"text", at(run.tokens(), heat.request.token)},
                       {"word", run.word_at(heat.request.token)}};
    result["read_from"] = {{"position", heat.row.position},
                           {"text", at(run.tokens(), heat.row.position)},
                           {"step", heat.row.step},
                           {"row", heat.row.row}};
    result["picture"] = {{"index", heat.request.picture},
                         {"file", at(run.pictures(), heat.request.picture).file},
                         {"size", {g.height, g.width}}};
    result["no_effect"] = heat.no_effect;
    if (heat.request.weigh_values)
        result["tanh_gate"] = heat.gate;
    result["row_sum"] = heat.row_sum;
    result["spread"] = {
        {"bits_of_heads", heat.head_bits}, {"bits_of_drawn", heat.drawn_bits}, {"most_bits", heat.most_bits}};
    result["ledger"] = {{"picture", heat.ledger.picture},
                        {"padding", heat.ledger.padding},
                        {"absent_tiles", heat.ledger.absent},
                        {"class_tokens", heat.ledger.class_tokens},
                        {"other_pictures", heat.ledger.other_pictures}};
    result["grid"] = {g.grid_rows(), g.grid_columns()};
    result["values"] = heat.grid;
    return result.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace pictor
