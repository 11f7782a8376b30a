// RMSNorm and LayerNorm. Their weights are one number per channel, so many rows tell them: they are fitted
// from each trace by least squares, and a norm is followed when all its rows agree on the same weights.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"

namespace pictor {
namespace {

constexpr std::int64_t least_rows = 4;
constexpr double nearly_no_eps = 1e-12;

struct NormRule {
    CauseName cause;
    std::string text;
    bool centred = false;  // LayerNorm: the mean taken off, and a bias
    double eps = 1e-5;
    bool identity = false;  // no norm at all
    bool sample_variance = false;
};

// What flows into a norm, in rows of the norm's width; padding rows of vision tiles are zeros.
struct NormInput {
    Numbers x;
    std::int64_t width = 0;
};

// One row normalised, before the weights.
void normalise(const float* in, std::int64_t width, const NormRule& rule, double* out)
{
    double mean = 0, square = 0;
    for (std::int64_t i = 0; i < width; ++i)
        mean += in[i];
    mean = rule.centred ? mean / static_cast<double>(width) : 0;
    for (std::int64_t i = 0; i < width; ++i)
        square += (in[i] - mean) * (in[i] - mean);
    square /= static_cast<double>(rule.sample_variance ? width - 1 : width);
    const double scale = rule.identity ? 1 : 1 / std::sqrt(square + rule.eps);
    for (std::int64_t i = 0; i < width; ++i)
        out[i] = (in[i] - mean) * scale;
}

// weight and bias per channel of the least squares fit y = weight x normalised + bias.
struct Fit {
    std::vector<double> weight, bias;
};

Fit fit_norm(const NormInput& input, const TraceTensor& y, const NormRule& rule)
{
    const auto width = static_cast<std::size_t>(input.width);
    const std::int64_t rows = static_cast<std::int64_t>(y.values.size()) / input.width;
    std::vector<double> n(width), sum_n(width), sum_y(width), sum_nn(width), sum_ny(width);
    for (std::int64_t row = 0; row < rows; ++row) {
        normalise(input.x->values.data() + row * input.width, input.width, rule, n.data());
        for (std::size_t i = 0; i < width; ++i) {
            const double value = at(y.values, row * width + i);
            sum_n[i] += n[i];
            sum_y[i] += value;
            sum_nn[i] += n[i] * n[i];
            sum_ny[i] += n[i] * value;
        }
    }
    Fit fit{std::vector<double>(width), std::vector<double>(width)};
    for (std::size_t i = 0; i < width; ++i) {
        const double count = static_cast<double>(rows), spread = sum_nn[i] * count - sum_n[i] * sum_n[i];
        if (rule.centred && spread > 0) {
            fit.weight[i] = (sum_ny[i] * count - sum_n[i] * sum_y[i]) / spread;
            fit.bias[i] = (sum_y[i] - fit.weight[i] * sum_n[i]) / count;
        } else if (!rule.centred && sum_nn[i] > 0)
            fit.weight[i] = sum_ny[i] / sum_nn[i];
    }
    return fit;
}

Predicted apply_norm(const NormInput& input, const TraceTensor& like, const Fit& fit, const NormRule& rule)
{
    TraceTensor result = like;
    const auto width = static_cast<std::size_t>(input.width);
    std::vector<double> n(width);
    for (std::size_t row = 0; row < like.values.size() / width; ++row) {
        normalise(input.x->values.data() + row * width, input.width, rule, n.data());
        for (std::size_t i = 0; i < width; ++i)
            result.values[row * width + i] = static_cast<float>(fit.weight[i] * n[i] + fit.bias[i]);
    }
    return result;
}

std::optional<NormInput> norm_input(const Side& side, const std::string& name, std::int64_t step)
{
    const std::vector<std::string> inputs = side.inputs_of(name);
    const TraceEntry* entry = side.trace().find(name, step);
    if (inputs.empty() || !entry || entry->shape.empty())
        return std::nullopt;
    const Numbers x = filled_up(side.find(inputs[0], step), entry->shape);
    if (!x || x->shape.empty() || static_cast<std::int64_t>(x->values.size()) != entry->size() ||
        entry->shape.back() <= 0)
        return std::nullopt;
    return NormInput{x, entry->shape.back()};
}

std::vector<NormRule> norm_rules(const Pair& pair, const NameParts& parts, bool centred)
{
    const bool around = parts.module.empty() && centred;  // the norms around the vision layers know only 1e-5
    const double eps = centred ? around ? 1e-5 : pair.a.facts().layer_norm_eps : pair.a.facts().rms_eps;
    const bool of_heads = parts.leaf.ends_with("q_norm") || parts.leaf.ends_with("k_norm");
    const CauseName missing = of_heads ? CauseName("query_and_key_norms") : CauseName("norm_missing");
    std::vector<NormRule> rules{
        {"", fmt::format("{} with eps {:g}", centred ? "LayerNorm" : "RMSNorm", eps), centred, eps}};
    for (double other : {1e-5, 1e-6, 1e-3, nearly_no_eps})
        if (other != eps)
            rules.push_back({"norm_eps",
                             fmt::format("{} with eps {:g}", centred ? "LayerNorm" : "RMSNorm", other),
                             centred, other});
    rules.push_back({"norm_kind", centred ? "RMSNorm instead of LayerNorm" : "LayerNorm instead of RMSNorm",
                     !centred, eps});
    rules.push_back({missing, "its input times the weight, not normalised", centred, eps, true});
    if (centred)
        rules.push_back({"norm_kind", "LayerNorm by the sample's variance", true, eps, false, true});
    return rules;
}

Fit checkpoint_fit(const ModelWeights& weights, const std::string& module, std::size_t width)
{
    const auto weight = weights.find(module, "weight"), bias = weights.find(module, "bias");
    Fit fit{std::vector<double>(width), std::vector<double>(width)};
    if (!weight || weight->size() != width)
        return {};
    std::copy(weight->begin(), weight->end(), fit.weight.begin());
    if (bias && bias->size() == width)
        std::copy(bias->begin(), bias->end(), fit.bias.begin());
    return fit;
}

// Weights come from the checkpoint, else from the prefill of the same trace, which has many rows.
Predicted predict_norm(const Side& side, const std::string& name, const NormRule& rule)
{
    const auto input = norm_input(side, name, side.step()), first = norm_input(side, name, 0);
    const Numbers like = side.find(name), fitted = side.find(name, 0);
    if (!input || !like)
        return std::nullopt;
    if (side.weights()) {
        const Fit known = checkpoint_fit(*side.weights(), name, static_cast<std::size_t>(input->width));
        if (!known.weight.empty())
            return apply_norm(*input, *like, known, rule);
    }
    if (!first || !fitted || static_cast<std::int64_t>(fitted->values.size()) < least_rows * first->width ||
        first->width != input->width)
        return std::nullopt;
    return apply_norm(*input, *like, fit_norm(*first, *fitted, rule), rule);
}

// A query that RoPE turned after its norm: turned back, its rows tell the weights; turned again, it must be
// met.
Predicted predict_turned_norm(const Side& side, const std::string& name, const NormRule& rule)
{
    const auto input = norm_input(side, name, side.step());
    const Numbers y = side.find(name), cos = side.find("language_model.rotary_emb.cos"),
                  sin = side.find("language_model.rotary_emb.sin");
    if (!input || !y || !sin || static_cast<std::int64_t>(y->values.size()) < least_rows * input->width)
        return std::nullopt;
    auto back = std::make_shared<TraceTensor>(*sin);
    for (float& value : back->values)
        value = -value;
    const Predicted turned_back = rotate_halves(y, cos, back);
    if (!turned_back)
        return std::nullopt;
    return rotate_halves(
        std::make_shared<TraceTensor>(*apply_norm(*input, *y, fit_norm(*input, *turned_back, rule), rule)),
        cos, sin);
}

// The weights that each trace's own rows tell, where both follow the same rule.
Judgement compare_fits(const Pair& pair, const NormRule& rule, Judgement judgement)
{
    const auto input_a = norm_input(pair.a, pair.name, 0), input_b = norm_input(pair.b, pair.name, 0);
    const Numbers y_a = pair.a.find(pair.name, 0), y_b = pair.b.find(pair.name, 0);
    if (!input_a || !input_b || !y_a || !y_b || input_a->width != input_b->width)
        return judgement;
    const Fit a = fit_norm(*input_a, *y_a, rule), b = fit_norm(*input_b, *y_b, rule);
    const double floor = rounding_floor(*y_a, pair.a.rounding_of(pair.name)) +
                         rounding_floor(*y_b, pair.b.rounding_of(pair.name));
    const Predicted with_others = apply_norm(*input_a, *y_a, b, rule);
    const Misfit error = misfit(with_others, *y_a);
    if (error.max <= floor)
        return judgement;
    judgement.verdict = Verdict::fault;
    Cause cause{"norm_weight", "", pair.name, pair.a.step(), error.max, 0, {}};
    cause.text =
        fmt::format("both are {}, with different weights: with the weights that b's rows imply, a's numbers "
                    "are {} off",
                    rule.text, amount(error.max));
    for (const double more : {1.0, -1.0}) {  // a's are b's and 1, or the other way round
        Fit shifted = b;
        for (double& weight : shifted.weight)
            weight += more;
        const Misfit one_more = misfit(apply_norm(*input_a, *y_a, shifted, rule), *y_a);
        if (one_more.max > floor)
            continue;
        cause.name = "norm_one_plus_weight";
        cause.after = one_more.max;
        cause.text += fmt::format("; with 1 {} each weight, {}", more > 0 ? "added to" : "taken off",
                                  amount(one_more.max));
    }
    judgement.text = cause.text;
    judgement.causes = {cause};
    return judgement;
}

}  // namespace

Numbers filled_up(const Numbers& x, const std::vector<std::int64_t>& shape)
{
    if (!x || x->shape == shape || x->shape.size() != 4 || shape.size() != 4 || x->shape[0] != shape[0] ||
        x->shape[1] != shape[1] || x->shape[2] > shape[2] || x->shape[3] != shape[3])
        return x;
    auto result = std::make_shared<TraceTensor>();
    result->shape = shape;
    result->values.resize(static_cast<std::size_t>(checked_size("states", shape)));
    const std::int64_t from = x->shape[2] * x->shape[3], to = shape[2] * shape[3];
    for (std::int64_t tile = 0; tile < shape[0] * shape[1]; ++tile)
        std::copy_n(x->values.begin() + tile * from, from, result->values.begin() + tile * to);
    return result;
}

Judgement judge_norm(const Pair& pair, const NameParts& parts)
{
    const bool centred = pair.name.rfind("vision_model", 0) == 0;
    const std::vector<NormRule> norms = norm_rules(pair, parts, centred);
    std::vector<StepRule> rules;
    for (const NormRule& norm : norms)
        rules.push_back({norm.cause, norm.text, [norm, name = pair.name](const Side& side) {
                             return predict_norm(side, name, norm);
                         }});
    rules.push_back({parts.leaf.ends_with("q_norm") || parts.leaf.ends_with("k_norm")
                         ? CauseName("query_and_key_norms")
                         : CauseName("norm_missing"),
                     "its input as it is, no norm", [name = pair.name](const Side& side) -> Predicted {
                         const auto input = norm_input(side, name, side.step());
                         return input ? Predicted(*input->x) : std::nullopt;
                     }});
    if (parts.leaf.ends_with("cross_attn.q_norm"))
        rules.push_back({"no_rope_on_cross_attention", "normalised, then rotated by RoPE",
                         [norm = norms.front(), name = pair.name](const Side& side) {
                             return predict_turned_norm(side, name, norm);
                         }});
    Judgement judgement = judge_by_rules(pair, rules);
    if (judgement.verdict == Verdict::explained && !pair.a.weights())
        return compare_fits(pair, norms.front(), std::move(judgement));
    if (judgement.verdict == Verdict::fault &&
        judgement.causes.empty()) {  // off the checkpoint's weights: by 1?
        const Judgement fitted = compare_fits(pair, norms.front(), judgement);
        if (!fitted.causes.empty() && fitted.causes.front().name == CauseName("norm_one_plus_weight"))
            return fitted;
    }
    return judgement;
}

}  // namespace pictor
