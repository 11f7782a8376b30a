// What goes in, and what is looked up: ids, pixels, masks, embeddings, positions and kept states.
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/why/sums.h"

namespace pictor {
namespace {

// What one step adds to the tiles, by the checkpoint.
struct Added {
    double gate = 0, tile = 0, plain = 0;
};

double at_of(const std::shared_ptr<const std::vector<float>>& values, std::int64_t place,
             const std::string& name)
{
    if (!values || place < 0 || place >= static_cast<std::int64_t>(values->size()))
        throw Untold{fmt::format("the weights of {} do not have the trace's sizes", name)};
    return at(*values, place);
}

std::int64_t aspect_id(const WhyRun& run, std::int64_t image)
{
    const Numbers ids = run.need("aspect_ratio_ids", 0);
    return static_cast<std::int64_t>(at(ids->values, position_in(ids, "aspect_ratio_ids", {image})));
}

// Row `id` of a table [ids][tiles x of_tile], at `within` of tile `tile`.
double table_value(const WhyRun& run, const std::string& module, std::int64_t id, std::int64_t n_tiles,
                   std::int64_t tile, std::int64_t of_tile, std::int64_t within)
{
    const std::vector<float> row = run.need_row(module, "weight", id);
    if (static_cast<std::int64_t>(row.size()) != n_tiles * of_tile)
        throw Untold{fmt::format("the weights of {} do not have the trace's sizes", module)};
    return at(row, tile * of_tile + within);
}

Term given(double value, std::string text) { return {value, std::move(text), "", std::nullopt}; }

}  // namespace

void sum_input(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "given: an input of the run";
    std::string text = "given";
    if (ask.name == "input_ids")
        text = run.word(static_cast<std::int64_t>(answer.value));
    if (ask.name == "aspect_ratio_ids") {
        const auto [high, wide] = run.side(0).grid_of(ask.indices.at(0));
        text = fmt::format("a grid of {} x {} tiles", high, wide);
    }
    if (ask.name == "cross_attention_mask")
        text = answer.value != 0 ? "this token may see this tile" : "this token may not see this tile";
    take_terms(answer, {given(answer.value, text)});
}

void sum_pixel(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const auto colour = static_cast<std::size_t>(ask.indices.at(2));
    const std::vector<double>&mean = run.facts().pixel_mean, &std = run.facts().pixel_std;
    answer.how = "a pixel of the resized image, normalised: (pixel - mean) / standard deviation";
    if (mean.size() != 3 || std.size() != 3 || colour > 2 || std[colour] == 0) {
        take_terms(answer, {given(answer.value, "given; the trace does not say how it was normalised")});
        return;
    }
    const double level = (answer.value * std[colour] + mean[colour]) * 255;
    if (answer.value == 0) {
        answer.how = "an absent tile is all zeros";
        take_terms(answer, std::vector<Term>{});
        return;
    }
    take_terms(answer, {given(level / 255 / std[colour], fmt::format("{} of 255", std::lround(level))),
                        given(-mean[colour] / std[colour], "the mean of the training images, subtracted")});
}

void sum_row_mask(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Numbers mask = run.need("cross_attention_mask", ask.step);
    if (mask->shape.size() != 3 || ask.indices.at(0) >= mask->shape[0])
        throw Untold{"cross_attention_mask and the row mask have sizes that do not match"};
    std::int64_t tiles = 0;
    const std::int64_t width = mask->shape[1] * mask->shape[2];
    for (std::int64_t tile = 0; tile < width; ++tile)
        tiles += at(mask->values, ask.indices[0] * width + tile) != 0;
    answer.how = "1 where the token may see at least one tile";
    take_terms(answer, {given(tiles > 0 ? 1 : 0, fmt::format("it may see {} of {} tiles", tiles, width))});
}

void sum_embedding(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Numbers ids = run.need("input_ids", ask.step);
    const auto id =
        static_cast<std::int64_t>(at(ids->values, position_in(ids, "input_ids", {ask.indices.at(0)})));
    answer.how = fmt::format("row {} of the table of embeddings, that of {}", id, run.word(id));
    if (!run.weights()) {
        take_terms(answer, {given(answer.value, "copied from the table")});
        return;
    }
    const std::vector<float> row = run.need_row(ask.name, "weight", id);
    const std::vector<double> direction = direction_of(ask, static_cast<std::int64_t>(row.size()));
    double sum = 0;
    for (std::size_t channel = 0; channel < row.size(); ++channel)
        sum += direction[channel] * row[channel];
    take_terms(answer, {given(sum, "copied from the table")});
}

void sum_tile_embedding(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "the patch with the embedding of its tile's place added";
    const Ask before{only_input(run, ask), ask.step, ask.indices, {}, ""};
    const double in = value_of(run, before);
    std::vector<Term> terms{{in, "the patch", "", before}};
    if (!run.weights())
        terms.push_back(given(answer.value - in, "tanh(gate) x the tile's embedding, inferred from the sum"));
    else {
        const std::int64_t id = aspect_id(run, ask.indices[0]), tile = ask.indices[1],
                           d = run.need(ask.name, 0)->shape.back(), n_tiles = run.need(ask.name, 0)->shape[1];
        const double gate = std::tanh(at_of(run.need_weight(ask.name, "gate"), 0, ask.name)),
                     value = table_value(run, ask.name + ".embedding", id, n_tiles, tile, d, ask.indices[3]);
        terms.push_back({gate * value, fmt::format("the embedding of tile {} in grid {}", tile, id),
                         fmt::format("tanh(gate) {} x {}", number_text(gate), number_text(value)),
                         std::nullopt});
    }
    take_terms(answer, std::move(terms));
}

void sum_positions(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const std::string from = only_input(run, ask);
    const std::int64_t patch = ask.indices.at(2), channel = ask.indices.at(3);
    const Numbers whole = run.need(ask.name, ask.step);
    const std::int64_t n_tiles = whole->shape.at(1), n_patches = whole->shape[2], d = whole->shape[3];
    answer.how = "the patch (or the class token) with its positions in the tile and in the grid added";
    std::vector<Term> terms;
    if (patch > 0) {
        const Ask before{from, ask.step, {ask.indices[0], ask.indices[1], patch - 1, channel}, {}, ""};
        terms.push_back({value_of(run, before), "the patch", "", before});
    }
    if (!run.weights()) {
        const double in = patch > 0 ? terms[0].value : 0;
        terms.push_back(given(answer.value - in, patch > 0 ? "the positions, inferred from the sum"
                                                           : "the class token and its positions"));
    } else {
        if (patch == 0)
            terms.push_back(
                given(at_of(run.need_weight("vision_model", "class_embedding"), channel, "vision_model"),
                      "the class token"));
        const double gate = std::tanh(at_of(run.need_weight(ask.name, "gate"), 0, ask.name)),
                     plain = at_of(run.need_weight(ask.name, "embedding"), patch * d + channel, ask.name),
                     tile = table_value(run, ask.name + ".tile_embedding", aspect_id(run, ask.indices[0]),
                                        n_tiles, ask.indices[1], n_patches * d, patch * d + channel);
        terms.push_back({(1 - gate) * plain, fmt::format("position {} in a tile", patch),
                         fmt::format("1 - tanh(gate) {} x {}", number_text(1 - gate), number_text(plain)),
                         std::nullopt});
        terms.push_back(
            {gate * tile, fmt::format("position {} of tile {} in the grid", patch, ask.indices[1]),
             fmt::format("tanh(gate) {} x {}", number_text(gate), number_text(tile)), std::nullopt});
    }
    take_terms(answer, std::move(terms));
}

void sum_kept_state(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Numbers joined = run.need(ask.name, ask.step);
    const std::vector<std::int64_t>& kept = run.facts().kept_layers;
    const auto n_kept = static_cast<std::int64_t>(kept.size());
    const std::int64_t width = joined->shape.back() / (n_kept + 1), column = ask.indices.back(),
                       kept_channel = column - width;
    answer.how = "the final state and the kept ones side by side: this number is a copy";
    Ask from{only_input(run, ask), ask.step, ask.indices, {}, ""};
    from.indices.back() = kept_channel < 0 ? column : kept_channel / n_kept;
    std::string text = "the final state";
    if (kept_channel >= 0) {
        // Meta keeps what flows into a layer, transformers since 4.56 what flows out of it.
        const std::int64_t layer = at(kept, kept_channel % n_kept);
        from.name = local_vision_state(layer);
        text = fmt::format("the input of vision layer {}", layer);
        Ask behind = from;
        behind.name = local_vision_state(layer + 1);
        if (value_of(run, from) != answer.value && value_of(run, behind) == answer.value) {
            from = behind;
            text = fmt::format("the OUTPUT of vision layer {}", layer);
        }
    }
    take_terms(answer,
               {{value_of(run, from), fmt::format("{}, channel {}", text, from.indices.back()), "", from}});
}

}  // namespace pictor
