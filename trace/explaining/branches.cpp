// What joins the branches of a layer: activations, gates, row masks and residual sums.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"

namespace pictor {
namespace {

using Function = std::function<double(double)>;

Predicted map_of(const Numbers& x, const Function& f)
{
    if (!x)
        return std::nullopt;
    TraceTensor result = *x;
    for (float& value : result.values)
        value = static_cast<float>(f(value));
    return result;
}

Predicted combine(const Numbers& x, const Numbers& y, const std::function<double(double, double)>& f)
{
    if (!x || !y || x->values.size() != y->values.size())
        return std::nullopt;
    TraceTensor result = *x;
    for (std::size_t i = 0; i < result.values.size(); ++i)
        result.values[i] = static_cast<float>(f(x->values[i], y->values[i]));
    return result;
}

double erf_gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }
double tanh_gelu(double x)
{
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double quick_gelu(double x) { return x * sigmoid(1.702 * x); }
double silu(double x) { return x * sigmoid(x); }
double relu(double x) { return std::max(0.0, x); }

// y = factor x branch: the factor of least squares, over the rows that count.
struct Gate {
    double factor = 0;
    double misfit = 0;  // the largest error with that factor
    double floor = 0;   // what rounding may do
    bool measured = false;
};

Gate fit_gate(const Numbers& x, const Numbers& y, const std::string& dtype, const std::vector<char>& rows)
{
    Gate gate;
    if (!x || !y || x->shape != y->shape || x->values.empty() || width_of(*x) == 0)
        return gate;
    const std::int64_t width = width_of(*x), n_rows = rows_of(*x);
    const bool all = static_cast<std::int64_t>(rows.size()) != n_rows;
    double xx = 0, xy = 0;
    const auto for_rows = [&](const auto& visit) {
        for (std::int64_t i = 0; i < n_rows * width; ++i)
            if (all || at(rows, i / width))
                visit(static_cast<double>(at(x->values, i)), static_cast<double>(at(y->values, i)));
    };
    for_rows([&](double in, double out) {
        xx += in * in;
        xy += in * out;
    });
    if (!(xx > 0))
        return gate;
    gate.factor = xy / xx;
    for_rows([&](double in, double out) {
        gate.misfit = std::max(gate.misfit, std::fabs(out - gate.factor * in));
    });
    gate.floor = rounding_floor(*y, dtype);
    gate.measured = true;
    return gate;
}

struct GateMistake {
    CauseName cause;
    const char* text;
    Function of_right;  // what the factor becomes, from the right one, tanh(gate)
};

const std::vector<GateMistake>& gate_mistakes()
{
    static const std::vector<GateMistake> mistakes{
        {"gate_missing", "1: there is no gate", [](double) { return 1.0; }},
        {"gate_without_tanh", "the gate itself, without tanh", [](double t) { return std::atanh(t); }},
        {"gate_tanh_twice", "tanh of tanh of the gate", [](double t) { return std::tanh(t); }},
        {"gate_sigmoid", "sigmoid of the gate", [](double t) { return sigmoid(std::atanh(t)); }},
        {"gate_one_minus", "1 - tanh of the gate", [](double t) { return 1 - t; }},
        {"gate_one_plus", "1 + tanh of the gate", [](double t) { return 1 + t; }},
        {"gate_zero", "0: the branch is dropped", [](double) { return 0.0; }},
        {"gate_sign", "minus tanh of the gate", [](double t) { return -t; }}};
    return mistakes;
}

// Two factors, unequal: which mistake turns the other one's into the odd one's? The checkpoint says which is
// right.
Judgement name_gate(const Pair& pair, const Gate& a, const Gate& b, double scale)
{
    Judgement judgement;
    judgement.verdict = Verdict::fault;
    judgement.text =
        fmt::format("the branch is multiplied by {:.6g} in a, by {:.6g} in b", a.factor, b.factor);
    const double before = std::fabs(a.factor - b.factor) * scale;
    const std::optional<double> known = checkpoint_gate(pair.a, split_name(pair.name));
    for (const bool odd_is_a : {true, false}) {
        const double odd = odd_is_a ? a.factor : b.factor, right = odd_is_a ? b.factor : a.factor;
        if (known && std::fabs(*known - odd) < std::fabs(*known - right))
            continue;
        for (const GateMistake& mistake : gate_mistakes()) {
            const double factor = mistake.of_right(right), after = std::fabs(factor - odd) * scale;
            if (!std::isfinite(factor))
                continue;
            judgement.tested.push_back({fmt::format("factor of {} = {}", odd_is_a ? "a" : "b", mistake.text),
                                        mistake.cause, odd_is_a ? after : -1, odd_is_a ? -1 : after});
            if (judgement.causes.empty() && after <= (odd_is_a ? a.floor : b.floor) + 1e-6 * scale &&
                after < 0.02 * before)
                judgement.causes.push_back(
                    {mistake.cause,
                     fmt::format(
                         "{} multiplies the branch by {:.6g}, {} by {:.6g}: {}'s is {} of which {}'s is the "
                         "tanh (difference {} before, {} after)",
                         odd_is_a ? "a" : "b", odd, odd_is_a ? "b" : "a", right, odd_is_a ? "a" : "b",
                         mistake.text, odd_is_a ? "b" : "a", amount(before), amount(after)),
                     pair.name,
                     pair.a.step(),
                     before,
                     after,
                     {}});
        }
    }
    if (!judgement.causes.empty())
        judgement.text = judgement.causes.front().text;
    return judgement;
}

double largest_of(const TraceTensor& tensor)
{
    double largest = 0;
    for (float value : tensor.values)
        largest = std::max(largest, std::fabs(static_cast<double>(value)));
    return largest;
}

Judgement compare_gates(const Pair& pair, const Gate& a, const Gate& b, const Numbers& branch)
{
    Judgement judgement;
    if (!a.measured || !b.measured) {
        judgement.text = "the branch before its gate is not recorded in both traces, or is zero";
        return judgement;
    }
    const double scale = largest_of(*branch);
    const bool fits_a = a.misfit <= a.floor, fits_b = b.misfit <= b.floor;
    if (fits_a && fits_b && std::fabs(a.factor - b.factor) * scale > a.floor + b.floor)
        return name_gate(pair, a, b, scale);
    if (fits_a != fits_b) {
        judgement.verdict = Verdict::fault;
        judgement.text = fmt::format(
            "{} is its branch times {:.6g} (to {}); {} is not a multiple of its branch ({} off)",
            fits_a ? "a" : "b", fits_a ? a.factor : b.factor, amount(fits_a ? a.misfit : b.misfit),
            fits_a ? "b" : "a", amount(fits_a ? b.misfit : a.misfit));
    } else if (!fits_a)
        judgement.text = "neither is a multiple of its branch";
    else {
        judgement.verdict = Verdict::explained;
        judgement.text = fmt::format("both multiply their branch by {:.6g} (to {} and {})", b.factor,
                                     amount(a.misfit), amount(b.misfit));
    }
    return judgement;
}

enum class UnseenRows { zero, as_others, other };

UnseenRows unseen_rows(const Numbers& x, const Numbers& y, const std::vector<char>& sees, const Gate& gate)
{
    bool all_zero = true, all_same = true;
    const std::int64_t width = width_of(*x);
    for (std::int64_t i = 0; i < rows_of(*x) * width; ++i) {
        if (at(sees, i / width))
            continue;
        const double in = at(x->values, i), out = at(y->values, i);
        all_zero = all_zero && out == 0;
        all_same = all_same && std::fabs(out - gate.factor * in) <= gate.floor;
    }
    return all_zero ? UnseenRows::zero : all_same ? UnseenRows::as_others : UnseenRows::other;
}

const char* unseen_text(UnseenRows rows)
{
    return rows == UnseenRows::zero        ? "zero"
           : rows == UnseenRows::as_others ? "let through like any other"
                                           : "something else";
}

// The numbers of `x` where those of `output` stand: vision states get rows of zeros behind the patches of
// each tile.
Numbers with_padding_rows(const Side& side, const std::string& x, const std::string& output)
{
    const TraceEntry* from = side.entry(x);
    const TraceEntry* to = side.entry(output);
    const TraceSample places = side.places_of(output);
    if (!from || !to || from->shape == to->shape || from->shape.size() != 4 || to->shape.size() != 4)
        return side.find_at(x, places);
    if (from->shape[0] != to->shape[0] || from->shape[1] != to->shape[1] || from->shape[2] > to->shape[2] ||
        from->shape[3] != to->shape[3])
        return nullptr;
    const std::int64_t of_tile = from->shape[2] * from->shape[3], padded = to->shape[2] * to->shape[3];
    std::vector<std::int64_t> positions;
    std::vector<std::size_t> slots;
    for (std::int64_t i = 0; i < places.count; ++i) {
        const std::int64_t at = places.start + i * places.stride;
        if (at % padded < of_tile) {
            positions.push_back(at / padded * of_tile + at % padded);
            slots.push_back(static_cast<std::size_t>(i));
        }
    }
    const std::vector<float> values = side.pick(x, positions);
    TraceTensor filled{places.count == to->size() ? to->shape : std::vector<std::int64_t>{places.count},
                       std::vector<float>(static_cast<std::size_t>(places.count))};
    for (std::size_t i = 0; i < slots.size(); ++i)
        filled.values[slots[i]] = values[i];
    return std::make_shared<TraceTensor>(std::move(filled));
}

}  // namespace

std::optional<double> checkpoint_gate(const Side& side, const NameParts& parts)
{
    if (!side.weights())
        return std::nullopt;
    const bool attention = parts.leaf.find("attn") != std::string::npos;
    const char* const name = parts.vision ? attention ? "gate_attn" : "gate_ffn"
                             : attention  ? "cross_attn_attn_gate"
                                          : "cross_attn_mlp_gate";
    const auto gate = side.weights()->find(parts.module, name);
    return gate && gate->size() == 1 ? std::optional(std::tanh(static_cast<double>(gate->front())))
                                     : std::nullopt;
}

std::vector<char> rows_that_see(const Side& side)
{
    std::vector<char> sees;
    if (const Numbers rows = side.find("full_text_row_masked_out_mask"))
        for (float value : rows->values)
            sees.push_back(value != 0);
    else if (const Numbers mask = side.find("cross_attention_mask");
             mask && mask->shape.size() == 3 && mask->shape[0] > 0) {
        const std::int64_t width = mask->shape[1] * mask->shape[2];
        for (std::int64_t token = 0; token < mask->shape[0]; ++token)
            sees.push_back(std::any_of(mask->values.begin() + token * width,
                                       mask->values.begin() + (token + 1) * width,
                                       [](float v) { return v != 0; }));
    }
    return sees;
}

Judgement judge_gated_branch(const Pair& pair, const NameParts&)
{
    const std::string from = pair.b.inputs_of(pair.name).front();
    const auto at_places = [&](const Side& side, const std::string& what) {
        return side.find_at(what, side.places_of(pair.name));
    };
    const auto gate = [&](const Side& side) {
        return fit_gate(at_places(side, from), at_places(side, pair.name), side.rounding_of(pair.name), {});
    };
    return compare_gates(pair, gate(pair.a), gate(pair.b), at_places(pair.b, from));
}

// tanh(gate) x MLP with rows that see nothing silenced: the factor from the rows that see, then what became
// of the others.
Judgement judge_gated_output(const Pair& pair, const NameParts&)
{
    const std::string from = pair.b.inputs_of(pair.name).front();
    const std::vector<char> sees_a = rows_that_see(pair.a), sees_b = rows_that_see(pair.b);
    const Numbers in_a = pair.a.find(from), in_b = pair.b.find(from), out_a = pair.a.find(pair.name),
                  out_b = pair.b.find(pair.name);
    const Gate a = fit_gate(in_a, out_a, pair.a.rounding_of(pair.name), sees_a),
               b = fit_gate(in_b, out_b, pair.b.rounding_of(pair.name), sees_b);
    const bool rows_known =
        in_a && in_b && static_cast<std::int64_t>(sees_a.size()) == rows_of(*in_a) && sees_b == sees_a;
    const bool some_unseen =
        rows_known && std::any_of(sees_a.begin(), sees_a.end(), [](char sees) { return !sees; });
    if (!some_unseen || !a.measured || !b.measured)
        return compare_gates(pair, a, b, in_b);
    const UnseenRows rows_a = unseen_rows(in_a, out_a, sees_a, a),
                     rows_b = unseen_rows(in_b, out_b, sees_b, b);
    if (rows_a == rows_b)
        return compare_gates(pair, a, b, in_b);
    Judgement judgement;
    judgement.verdict = Verdict::fault;
    judgement.text = fmt::format("rows that may see no image are {} in a, {} in b", unseen_text(rows_a),
                                 unseen_text(rows_b));
    double before = 0;
    for (std::size_t i = 0; i < out_a->values.size() && i < out_b->values.size(); ++i)
        if (!at(sees_a, i / width_of(*out_a)))
            before = std::max(before, std::fabs(static_cast<double>(out_a->values[i]) - out_b->values[i]));
    judgement.causes.push_back({"row_mask", judgement.text, pair.name, pair.a.step(), before, 0, {}});
    return judgement;
}

// hidden + branch. In cross layers and global layers the branch is the gated one.
Judgement judge_sum(const Pair& pair, const NameParts& parts)
{
    const bool after_attention = parts.leaf == "residual";
    const std::vector<std::string> summands = pair.b.inputs_of(pair.name);
    const std::string &from = summands[0], &branch = summands[1];  // the hidden state, or the residual
    const bool gated = branch.ends_with(".gated") || branch.ends_with(".gated_output");
    const std::string plain = gated ? pair.b.inputs_of(branch).front() : branch;
    const auto padded = [name = pair.name](const Side& side, const std::string& what) {
        return with_padding_rows(side, what, name);
    };
    const auto rule = [&](CauseName cause, std::string text, const std::string& x, const std::string& y,
                          double factor) {
        return StepRule{cause, std::move(text), [=](const Side& side) {
                            return combine(padded(side, x), padded(side, y),
                                           [factor](double in, double add) { return in + factor * add; });
                        }};
    };
    const auto only = [&](CauseName cause, std::string text, const std::string& x) {
        return StepRule{cause, std::move(text), [=](const Side& side) {
                            return map_of(padded(side, x), [](double v) { return v; });
                        }};
    };
    const std::string normed =
        parts.module + (after_attention ? ".input_layernorm" : ".post_attention_layernorm");
    std::vector<StepRule> rules{
        rule("", from + " + " + branch, from, branch, 1),
        only("residual_missing", "the branch alone, nothing added", branch),
        only("branch_missing", from + " as it is, the branch left out", from),
        rule("residual_after_norm", "the normalised state + the branch", normed, branch, 1),
        rule("branch_sign", from + " minus the branch", from, branch, -1),
        rule("branch_twice", from + " + twice the branch", from, branch, 2)};
    if (gated)
        rules.push_back(rule("gate_missing", from + " + the branch before its gate", from, plain, 1));
    if (!after_attention && parts.layer > 0)
        rules.push_back(rule("residual_from_layer_input", "the layer's input + the branch",
                             pair.b.inputs_of(parts.module + ".residual").front(), branch, 1));
    return judge_by_rules(pair, rules);
}

Judgement judge_activation(const Pair& pair, const NameParts& parts)
{
    const std::string from = pair.b.inputs_of(pair.name).front();
    const CauseName cause = parts.vision ? CauseName("exact_gelu") : CauseName("mlp_activation");
    const auto rule = [&](CauseName name, const char* text, double (*f)(double), const std::string& x) {
        return StepRule{name, text, [=, output = pair.name](const Side& side) {
                            return map_of(side.find_at(x, side.places_of(output)), f);
                        }};
    };
    std::vector<StepRule> rules{rule(cause, "exact (erf) GELU", erf_gelu, from),
                                rule(cause, "tanh GELU", tanh_gelu, from),
                                rule(cause, "quick GELU", quick_gelu, from), rule(cause, "SiLU", silu, from),
                                rule(cause, "ReLU", relu, from)};
    if (!parts.vision)
        rules.push_back(rule("gate_and_up_swapped", "SiLU of up_proj", silu, parts.module + ".mlp.up_proj"));
    std::swap(rules[0], rules[parts.vision ? 0 : 3]);  // the references' own comes first
    rules[0].cause = {};
    return judge_by_rules(pair, rules);
}

Judgement judge_mlp_product(const Pair& pair, const NameParts& parts)
{
    const std::string mlp = parts.module + ".mlp.";
    const auto at_places = [output = pair.name, mlp](const Side& side, const char* what) {
        return side.find_at(mlp + what, side.places_of(output));
    };
    const auto product = [&](CauseName cause, const char* text, const char* x, const char* y) {
        return StepRule{cause, text, [=](const Side& side) {
                            return combine(at_places(side, x), at_places(side, y),
                                           [](double p, double q) { return p * q; });
                        }};
    };
    return judge_by_rules(
        pair,
        {product("", "act_fn x up_proj", "act_fn", "up_proj"),
         product("gate_and_up_swapped", "act_fn x gate_proj", "act_fn", "gate_proj"),
         product("mlp_activation", "gate_proj x up_proj, no activation", "gate_proj", "up_proj"),
         {"mlp_up_missing", "act_fn alone",
          [=](const Side& side) { return map_of(at_places(side, "act_fn"), [](double v) { return v; }); }},
         {"gate_and_up_swapped", "gate_proj x SiLU of up_proj", [=](const Side& side) {
              return combine(at_places(side, "gate_proj"), at_places(side, "up_proj"),
                             [](double p, double q) { return p * silu(q); });
          }}});
}

}  // namespace pictor
