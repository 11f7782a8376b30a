// Linear layers: y = W x + b. With the checkpoint they are computed again. Without it, what can be said is
// what any linear map obeys: equal rows stay equal, one map fits the rows of both traces, errors grow in
// proportion.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/least_squares.h"
#include "trace/explaining/steps.h"

namespace pictor {
namespace {

constexpr double most_work =
    3e8;  // multiplications of one product; beyond that every n-th output is computed
constexpr double most_fit_work = 4e8;  // multiplications of one fit
constexpr double ordinary_gain = 8;    // a linear layer rarely makes a relative error larger than this times
constexpr double extraordinary_gain = 60;
constexpr float not_computed = std::numeric_limits<float>::quiet_NaN();

// x and y as rows: [n_rows][d_in], [n_rows][d_out].
struct Rows {
    Numbers x, y;
    std::int64_t n = 0, d_in = 0, d_out = 0;
};

// Picture patches flattened as the convolution sees them: [image tile patch][colour row column].
Numbers patches_of(const Numbers& pixels, std::int64_t n_patches)
{
    if (!pixels || pixels->shape.size() != 5 || n_patches <= 0)
        return nullptr;
    const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(n_patches))));
    const std::int64_t tiles = pixels->shape[0] * pixels->shape[1], colours = pixels->shape[2],
                       size = pixels->shape[3];
    if (side * side != n_patches || pixels->shape[4] != size || size % side != 0)
        return nullptr;
    const std::int64_t patch = size / side;
    auto result = std::make_shared<TraceTensor>();
    result->shape = {tiles, n_patches, colours * patch * patch};
    result->values.reserve(pixels->values.size());
    for (std::int64_t tile = 0; tile < tiles; ++tile)
        for (std::int64_t patch_index = 0; patch_index < n_patches; ++patch_index)
            for (std::int64_t colour = 0; colour < colours; ++colour)
                for (std::int64_t row = 0; row < patch; ++row)
                    for (std::int64_t column = 0; column < patch; ++column)
                        result->values.push_back(
                            at(pixels->values,
                               ((tile * colours + colour) * size + patch_index / side * patch + row) * size +
                                   patch_index % side * patch + column));
    return result;
}

std::optional<Rows> rows_of_step(const Side& side, const std::string& name)
{
    const std::vector<std::string> inputs = side.inputs_of(name);
    Rows rows;
    rows.y = side.find(name);
    if (inputs.empty() || !rows.y || rows.y->shape.empty())
        return std::nullopt;
    rows.x = side.find(inputs[0], inputs[0] == "multi_modal_projector" ? 0 : side.step());
    if (name == "vision_model.patch_embedding" && rows.y->shape.size() == 4)
        rows.x = patches_of(rows.x, rows.y->shape[2]);
    if (!rows.x || rows.x->shape.empty())
        return std::nullopt;
    // Heads stand on an axis of their own on either side; the rows are what both have in front.
    const Operation* const operation = side.operation_of(name);
    const bool heads_out = operation && std::string_view(operation->axes).ends_with("head channel");
    rows.d_out = width_of(*rows.y, heads_out ? 2 : 1);
    rows.d_in = width_of(*rows.x, name.ends_with(".o_proj") ? 2 : 1);
    if (rows.d_in <= 0 || rows.d_out <= 0)
        return std::nullopt;
    rows.n = static_cast<std::int64_t>(rows.y->values.size()) / rows.d_out;
    if (rows.n == 0 || rows.n * rows.d_in != static_cast<std::int64_t>(rows.x->values.size()))
        return std::nullopt;
    return rows;
}

// A product with the checkpoint's weights, and what can be mistaken in it.
struct Product {
    std::string module;                                 // whose weights
    std::function<std::int64_t(std::int64_t out)> row;  // which row of W makes output `out`; empty: that one
    std::function<std::int64_t(std::int64_t in)>
        column;  // which column of W meets input `in`; empty: that one
    bool with_bias = true, zero_unseen = false, transposed = false;
};

struct NamedProduct {
    CauseName cause;
    const char* text;
    Product how;
};

Predicted product(const Side& side, const std::string& name, const Product& how)
{
    const auto rows = rows_of_step(side, name);
    if (!rows || !side.weights())
        return std::nullopt;
    const std::int64_t d_in = rows->d_in, d_out = rows->d_out;
    const auto weight = side.weights()->find(how.module, "weight"),
               bias = side.weights()->find(how.module, "bias");
    if (!weight || static_cast<std::int64_t>(weight->size()) != d_in * d_out ||
        (how.transposed && d_in != d_out) || (!how.with_bias && !bias))
        return std::nullopt;
    const std::vector<char> sees = how.zero_unseen ? rows_that_see(side) : std::vector<char>{};
    if (how.zero_unseen && static_cast<std::int64_t>(sees.size()) != rows->n)
        return std::nullopt;
    const bool add_bias = how.with_bias && bias && static_cast<std::int64_t>(bias->size()) == d_out;
    const double work = static_cast<double>(rows->n) * static_cast<double>(d_in) * static_cast<double>(d_out);
    const auto stride = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(work / most_work)));
    TraceTensor y{rows->y->shape, std::vector<float>(rows->y->values.size(), not_computed)};
    std::vector<float> weights_of_out(static_cast<std::size_t>(d_in));
    for (std::int64_t out = 0; out < d_out; out += stride) {
        const std::int64_t from = how.row ? how.row(out) : out;
        if (from < 0 || from >= d_out)
            return std::nullopt;
        for (std::int64_t in = 0; in < d_in; ++in) {
            const std::int64_t column =
                how.column ? std::clamp<std::int64_t>(how.column(in), 0, d_in - 1) : in;
            at(weights_of_out, in) =
                at(*weight, how.transposed ? column * d_out + from : from * d_in + column);
        }
        for (std::int64_t row = 0; row < rows->n; ++row) {
            const bool silent = how.zero_unseen && !at(sees, row);
            const float* const x = rows->x->values.data() + row * d_in;
            double sum = add_bias ? at(*bias, from) : 0;
            for (std::int64_t in = 0; in < d_in && !silent; ++in)
                sum += static_cast<double>(x[in]) * at(weights_of_out, in);
            at(y.values, row * d_out + out) = static_cast<float>(sum);
        }
    }
    return y;
}

// Queries and keys of Meta's own files have each head's channels in another order, and heads can be cut the
// wrong way.
void add_head_orders(const TraceEntry& entry, const Product& plain, std::vector<NamedProduct>& products)
{
    const std::int64_t d = entry.shape.back(), heads = entry.shape[entry.shape.size() - 2], half = d / 2;
    Product interleaved = plain, pulled = plain, swapped = plain;
    interleaved.row = [=](std::int64_t out) { return out / d * d + out % d % 2 * half + out % d / 2; };
    pulled.row = [=](std::int64_t out) { return out / d * d + out % d % half * 2 + out % d / half; };
    swapped.row = [=](std::int64_t out) { return out % d * heads + out / d; };
    products.push_back({"query_key_permutation", "W x with each head's halves interleaved", interleaved});
    products.push_back(
        {"query_key_permutation", "W x with each head's neighbours pulled into halves", pulled});
    products.push_back({"heads_and_channels_swapped", "W x cut into channels first, then heads", swapped});
}

// Whether the output's last two axes are heads and their channels.
bool has_heads(const Pair& pair, const TraceEntry* entry)
{
    const Operation* const operation = pair.b.operation_of(pair.name);
    return entry && operation && std::string_view(operation->axes).ends_with("head channel");
}

std::vector<StepRule> weight_rules(const Pair& pair, const NameParts& parts)
{
    const std::string name = pair.name;
    const TraceEntry* const entry = pair.b.entry(name);
    const Numbers pixels = pair.b.find("pixel_values");
    Product plain{name, {}, {}}, without_bias = plain, silenced = plain, transposed = plain,
                                 blue_first = plain;
    without_bias.with_bias = false;
    silenced.zero_unseen = true;
    transposed.transposed = true;
    std::vector<NamedProduct> products{{"", "W x (+ b) by the checkpoint", plain}};
    if (parts.leaf == "cross_attn.o_proj")
        products.push_back({"row_mask", "W x with rows that see nothing set to zero first", silenced});
    if (has_heads(pair, entry) && entry->shape.size() >= 3 && entry->shape.back() % 2 == 0)
        add_head_orders(*entry, plain, products);
    for (const std::int64_t layer : {parts.layer + 1, parts.layer - 1})
        if (!parts.module.empty() && layer >= 0) {
            Product other = plain;
            other.module = fmt::format("{}{}.{}", parts.module.substr(0, parts.module.rfind('.') + 1), layer,
                                       parts.leaf);
            products.push_back({"layers_shifted",
                                layer > parts.layer ? "W x by the weights of the next layer"
                                                    : "W x by the weights of the layer before",
                                other});
        }
    if (name == "vision_model.patch_embedding" && pixels && pixels->shape.size() == 5 &&
        pixels->shape[2] == 3) {
        const auto rows = rows_of_step(pair.b, name);
        blue_first.column = [of_colour = rows ? rows->d_in / 3 : 1](std::int64_t in) {
            return (2 - in / of_colour) * of_colour + in % of_colour;
        };
        products.push_back(
            {"colour_order", "W x with the colours in the order blue, green, red", blue_first});
    }
    products.push_back({"bias_missing", "W x without the bias", without_bias});
    products.push_back({"weight_transposed", "W transposed x", transposed});
    std::vector<StepRule> rules;
    for (const auto& [cause, text, how] : products)
        rules.push_back(
            {cause, text, [name, how = how](const Side& side) { return product(side, name, how); }});
    return rules;
}

// Rows that are all zero in one trace and not in the other, though what flows in is not: the row mask.
Judgement judge_zero_rows(const Pair& pair, const Rows& a, const Rows& b)
{
    Judgement judgement;
    const std::vector<char> sees = rows_that_see(pair.b);
    const auto is_zero = [](const float* row, std::int64_t width) {
        return std::all_of(row, row + width, [](float v) { return v == 0; });
    };
    std::int64_t only_a = 0, only_b = 0, unseen = 0, elsewhere = 0;
    double before = 0;
    for (std::int64_t row = 0; row < a.n; ++row) {
        const bool zero_a = is_zero(a.y->values.data() + row * a.d_out, a.d_out) &&
                            !is_zero(a.x->values.data() + row * a.d_in, a.d_in);
        const bool zero_b = is_zero(b.y->values.data() + row * b.d_out, b.d_out) &&
                            !is_zero(b.x->values.data() + row * b.d_in, b.d_in);
        const bool blind = static_cast<std::int64_t>(sees.size()) == a.n && !at(sees, row);
        unseen += blind;
        only_a += zero_a && !zero_b;
        only_b += zero_b && !zero_a;
        elsewhere += zero_a != zero_b && !blind;
        for (std::int64_t i = row * a.d_out; zero_a != zero_b && i < (row + 1) * a.d_out; ++i)
            before =
                std::max(before, std::fabs(static_cast<double>(at(a.y->values, i)) - at(b.y->values, i)));
    }
    if (only_a + only_b == 0)
        return judgement;
    judgement.verdict = Verdict::fault;
    const bool row_mask = elsewhere == 0 && only_a + only_b == unseen && (only_a == 0 || only_b == 0);
    judgement.text = fmt::format(
        "{} rows are zero in {} alone{}", only_a + only_b, only_b > 0 ? "b" : "a",
        row_mask
            ? ", exactly those that may see no image: the row mask in front of this layer, which the other "
              "trace does not apply"
            : "");
    if (row_mask)
        judgement.causes.push_back({"row_mask", judgement.text, pair.name, pair.a.step(), before, 0, {}});
    return judgement;
}

double rms(const float* x, std::int64_t count, const float* minus = nullptr)
{
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        const double value = static_cast<double>(x[i]) - (minus ? minus[i] : 0);
        sum += value * value;
    }
    return count > 0 ? std::sqrt(sum / static_cast<double>(count)) : 0;
}

// By how much the relative error of a row grows, at most; and the row that does it.
struct Gain {
    double most = 0, of_all = 0, out = 0, in = 0;
    std::int64_t row = 0;
};

Gain gain_of(const Pair& pair, const Rows& a, const Rows& b)
{
    const double unit = std::max(0x1p-22, std::max(unit_roundoff(pair.a.rounding_of(pair.name)),
                                                   unit_roundoff(pair.b.rounding_of(pair.name))));
    const double size_x = rms(b.x->values.data(), b.n * b.d_in),
                 size_y = rms(b.y->values.data(), b.n * b.d_out);
    Gain gain;
    for (std::int64_t row = 0; row < a.n; ++row) {
        const double in =
            rms(a.x->values.data() + row * a.d_in, a.d_in, b.x->values.data() + row * b.d_in) / size_x;
        const double out =
            rms(a.y->values.data() + row * a.d_out, a.d_out, b.y->values.data() + row * b.d_out) / size_y;
        if (const double each = out / (in + 8 * unit); each > gain.most)
            gain = {each, 0, out, in, row};
    }
    const double in = rms(a.x->values.data(), a.n * a.d_in, b.x->values.data()) / size_x,
                 out = rms(a.y->values.data(), a.n * a.d_out, b.y->values.data()) / size_y;
    gain.of_all = out / (in + 8 * unit);
    return gain;
}

// One linear map (with a bias) for the rows of both traces, by least squares: the largest residual, or
// nothing when there are too few rows to tell.
std::optional<double> residual_of_one_map(const Rows& a, const Rows& b)
{
    const std::int64_t d = a.d_in + 1;
    const double work =
        static_cast<double>(a.n + b.n) * static_cast<double>(d) * static_cast<double>(d + 2 * a.d_out);
    if (a.n < d + d / 4 + 2 || work > most_fit_work)
        return std::nullopt;
    std::vector<double> x(static_cast<std::size_t>(d));
    const auto for_rows = [&](const auto& visit) {
        for (const Rows* rows : {&a, &b})
            for (std::int64_t row = 0; row < rows->n; ++row) {
                std::copy_n(rows->x->values.begin() + row * rows->d_in, rows->d_in, x.begin());
                x.back() = 1;
                visit(rows->y->values.data() + row * rows->d_out);
            }
    };
    LeastSquares map(x.size(), static_cast<std::size_t>(a.d_out));
    for_rows([&](const float* y) { map.add(x, y); });
    map.solve();
    double worst = 0;
    for_rows([&](const float* y) {
        const std::vector<double> fitted = map.predict(x);
        for (std::size_t out = 0; out < fitted.size(); ++out)
            worst = std::max(worst, std::fabs(fitted[out] - y[out]));
    });
    return std::isfinite(worst) ? std::optional(worst) : std::nullopt;
}

Judgement judge_without_weights(const Pair& pair, const Rows& a, const Rows& b)
{
    Judgement judgement = judge_zero_rows(pair, a, b);
    if (judgement.verdict == Verdict::fault)
        return judgement;
    const double floor = rounding_floor(*a.y, pair.a.rounding_of(pair.name)) +
                         rounding_floor(*b.y, pair.b.rounding_of(pair.name));
    const double apart = rms(a.y->values.data(), a.n * a.d_out, b.y->values.data());
    if (const auto residual = residual_of_one_map(a, b)) {
        judgement.tested.push_back({"one linear map for the rows of both traces", "", *residual, *residual});
        if (*residual <= 2 * floor) {
            judgement.verdict = Verdict::explained;
            judgement.text = fmt::format("one linear map fits the rows of both (to {})", amount(*residual));
            return judgement;
        }
        if (*residual > 0.05 * apart) {
            judgement.verdict = Verdict::fault;
            judgement.text = fmt::format(
                "no one linear map fits the rows of both ({} off at least): other weights, or another order "
                "of channels",
                amount(*residual));
            return judgement;
        }
    }
    const Gain gain = gain_of(pair, a, b);
    if (!(gain.most >= 0) || !std::isfinite(gain.most)) {
        judgement.text = "holds numbers that are not finite";
        return judgement;
    }
    judgement.text = fmt::format("row {} is {:.2g} of the tensor's size off, its input {:.2g}", gain.row,
                                 gain.out, gain.in);
    if (gain.most <= ordinary_gain) {
        judgement.verdict = Verdict::likely;
        judgement.text = fmt::format(
            "only propagates an earlier error, {:.2g} times its input's (relative, over all rows)",
            gain.of_all);
    } else if (gain.most >= extraordinary_gain) {
        judgement.verdict = Verdict::fault;
        judgement.text += gain.in < 1e-5
                              ? ": equal rows go in, unequal rows come out"
                              : fmt::format(": {:.0f} times, which no ordinary linear layer does", gain.most);
    } else
        judgement.text += fmt::format(
            ": {:.0f} times; only the checkpoint (--model) can tell whether that is the weights' doing",
            gain.most);
    return judgement;
}

}  // namespace

Judgement judge_linear(const Pair& pair, const NameParts& parts)
{
    if (pair.a.weights()) {
        Judgement judgement = judge_by_rules(pair, weight_rules(pair, parts));
        if (!judgement.tested.empty())
            return judgement;
    }
    const auto a = rows_of_step(pair.a, pair.name), b = rows_of_step(pair.b, pair.name);
    if (!a || !b || a->n != b->n || a->d_in != b->d_in || a->d_out != b->d_out) {
        Judgement judgement;
        judgement.text = "its input is not recorded in both traces";
        return judgement;
    }
    return judge_without_weights(pair, *a, *b);
}

}  // namespace pictor
