#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "viz/drawing/raster.h"
#include "viz/report/report_parts.h"

namespace pictor {

namespace {

using Json = nlohmann::ordered_json;

// One tensor of a self-attention layer over all steps: whole rows [row][column] of each head, one row per
// position of the sequence, as long as that position's step made it.
struct HeadsOverSteps {
    std::int64_t n_heads = 0;
    std::vector<std::vector<float>> rows;  // [head * n_positions + position]
    std::int64_t n_positions = 0;

    const std::vector<float>& row(std::int64_t head, std::int64_t position) const
    {
        return rows.at(static_cast<std::size_t>(head * n_positions + position));
    }
};

// Empty where some step lacks the tensor, recorded it in part, or has another shape than its neighbours.
std::optional<HeadsOverSteps> read_heads(const Trace& trace, const std::string& name)
{
    HeadsOverSteps all;
    for (const TraceStep& step : trace.steps())
        all.n_positions += step.token_count;
    for (const TraceStep& step : trace.steps()) {
        const TraceEntry* entry = trace.find(name, step.index);
        if (entry == nullptr || !entry->whole() || entry->shape.size() != 3 ||
            entry->shape[1] != step.token_count || entry->shape[2] < step.first_token + step.token_count)
            return std::nullopt;
        const std::int64_t n_heads = entry->shape[0], n_keys = entry->shape[2];
        if (all.n_heads == 0) {
            all.n_heads = n_heads;
            all.rows.resize(static_cast<std::size_t>(n_heads * all.n_positions));
        }
        if (n_heads != all.n_heads || n_heads < 1)
            return std::nullopt;
        const TraceTensor tensor = trace.load(*entry);
        for (std::int64_t head = 0; head < n_heads; ++head)
            for (std::int64_t row = 0; row < step.token_count; ++row) {
                const float* first = tensor.values.data() + (head * step.token_count + row) * n_keys;
                all.rows.at(static_cast<std::size_t>(head * all.n_positions + step.first_token + row))
                    .assign(first, first + n_keys);
            }
    }
    return all.n_heads > 0 ? std::optional(all) : std::nullopt;
}

void append_16_bits(std::string& bytes, double part)
{
    const auto stored = static_cast<unsigned>(std::lround(std::clamp(part, 0.0, 1.0) * 65535));
    bytes += static_cast<char>(stored & 0xFF);
    bytes += static_cast<char>(stored >> 8);
}

// What each row reads, up to itself: the later keys are masked.
void append_shares(std::string& bytes, const HeadsOverSteps& probs)
{
    for (std::int64_t head = 0; head < probs.n_heads; ++head)
        for (std::int64_t row = 0; row < probs.n_positions; ++row)
            for (std::int64_t key = 0; key <= row; ++key)
                append_16_bits(bytes, probs.row(head, row).at(static_cast<std::size_t>(key)));
}

// Scores as parts of each head's range, which is returned: [[lowest, highest] per head].
Json append_scores(std::string& bytes, const HeadsOverSteps& scores)
{
    Json ranges = Json::array();
    for (std::int64_t head = 0; head < scores.n_heads; ++head) {
        float low = 0, high = 0;
        for (std::int64_t row = 0; row < scores.n_positions; ++row)
            for (std::int64_t key = 0; key <= row; ++key) {
                const float score = scores.row(head, row).at(static_cast<std::size_t>(key));
                low = std::isfinite(score) ? std::min(low, score) : low;
                high = std::isfinite(score) ? std::max(high, score) : high;
            }
        ranges.push_back({low, high});
        for (std::int64_t row = 0; row < scores.n_positions; ++row)
            for (std::int64_t key = 0; key <= row; ++key) {
                const float score = scores.row(head, row).at(static_cast<std::size_t>(key));
                append_16_bits(bytes, high > low ? (double{score} - low) / (double{high} - low) : 0.0);
            }
    }
    return ranges;
}

// The length of each position's value vector, [kv_head][position]; empty where v_proj is not there whole.
Json value_lengths(const Trace& trace, const std::string& layer)
{
    std::vector<std::vector<double>> lengths;
    for (const TraceStep& step : trace.steps()) {
        const TraceEntry* entry = trace.find(layer + ".self_attn.v_proj", step.index);
        if (entry == nullptr || !entry->whole() || entry->shape.size() != 3 ||
            entry->shape[0] != step.token_count)
            return Json::array();
        const TraceTensor values = trace.load(*entry);
        const std::int64_t n_kv = entry->shape[1], width = entry->shape[2];
        lengths.resize(static_cast<std::size_t>(n_kv));
        for (std::int64_t token = 0; token < step.token_count; ++token)
            for (std::int64_t kv = 0; kv < n_kv; ++kv) {
                double square = 0;
                for (std::int64_t channel = 0; channel < width; ++channel) {
                    const double value =
                        values.values.at(static_cast<std::size_t>((token * n_kv + kv) * width + channel));
                    square += value * value;
                }
                lengths.at(static_cast<std::size_t>(kv)).push_back(std::round(1e4 * std::sqrt(square)) / 1e4);
            }
    }
    return lengths;
}

std::vector<std::int64_t> self_layers(const Trace& trace)
{
    std::vector<std::int64_t> layers;
    constexpr std::string_view begin = "language_model.layers.", end = ".self_attn.probs";
    for (const TraceEntry& entry : trace.entries())
        if (entry.step == 0 && entry.name.starts_with(begin) && entry.name.ends_with(end)) {
            const std::string number =
                entry.name.substr(begin.size(), entry.name.size() - begin.size() - end.size());
            if (!number.empty() && number.size() < 6 &&
                std::all_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c); }))
                layers.push_back(std::stoll(number));
        }
    std::sort(layers.begin(), layers.end());
    return layers;
}

}  // namespace

Json self_attention_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    const Trace& trace = run.trace();
    Json result{{"layers", Json::array()},
                {"heads", 0},
                {"rows", 0},
                {"heads_per_kv", 1},
                {"shares", ""},
                {"scores", ""},
                {"score_ranges", Json::array()},
                {"value_lengths", Json::array()}};
    std::string shares, scores;
    bool with_scores = true;
    for (const std::int64_t layer : self_layers(trace)) {
        const std::string name = layer_name(layer);
        const auto probs = read_heads(trace, name + ".self_attn.probs");
        const auto raw = read_heads(trace, name + ".self_attn.scores");
        if (!probs || (!result["layers"].empty() &&
                       (result["heads"] != probs->n_heads || result["rows"] != probs->n_positions))) {
            left_out.add(fmt::format("Self-attention of layer {}: not recorded whole in every step.", layer));
            continue;
        }
        if (static_cast<std::int64_t>(shares.size() + scores.size()) > options.attention_bytes / 2) {
            left_out.add(fmt::format("Self-attention from layer {} on: it would not fit.", layer));
            break;
        }
        result["heads"] = probs->n_heads;
        result["rows"] = probs->n_positions;
        append_shares(shares, *probs);
        const Json lengths = value_lengths(trace, name);
        with_scores = with_scores && raw && raw->n_heads == probs->n_heads && !lengths.empty();
        if (with_scores) {
            for (const Json& range : append_scores(scores, *raw))
                result["score_ranges"].push_back(range);
            result["value_lengths"].push_back(lengths);
            result["heads_per_kv"] =
                std::max<std::int64_t>(1, probs->n_heads / static_cast<std::int64_t>(lengths.size()));
        }
        result["layers"].push_back(layer);
    }
    if (!with_scores) {  // all layers or none: the page does not mix
        result["score_ranges"] = result["value_lengths"] = Json::array();
        scores.clear();
    }
    result["shares"] = base64(shares);
    result["scores"] = base64(scores);
    return result;
}

Json gates_json(const Run& run)
{
    Json gates = Json::array();
    const Trace& trace = run.trace();
    for (const std::int64_t layer : run.cross_layers()) {
        const TraceEntry* before = trace.find(layer_name(layer) + ".cross_attn.o_proj");
        const TraceEntry* after = trace.find(layer_name(layer) + ".cross_attn.gated");
        if (before == nullptr || after == nullptr || before->shape != after->shape ||
            before->values == TraceValues::none || after->values == TraceValues::none)
            continue;
        const std::vector<float> in = trace.load_kept(*before), out = trace.load_kept(*after);
        double product = 0, square = 0;
        for (std::size_t i = 0; i < std::min(in.size(), out.size()); ++i) {
            product += double{in[i]} * out[i];
            square += double{in[i]} * in[i];
        }
        if (square > 0 && std::isfinite(product / square))
            gates.push_back({{"layer", layer}, {"value", std::round(1e6 * product / square) / 1e6}});
    }
    return gates;
}

}  // namespace pictor
