// Attention: scores channel by channel, what competes in the softmax, and what the heads gathered from where.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"
#include "trace/why/sums.h"

namespace pictor {
namespace {

// One attention of one layer at one step. A row is a token, or a row of a vision tile; so is a key.
struct Attention {
    std::string prefix;  // "language_model.layers.3.cross_attn."
    bool vision = false, cross = false;
    std::int64_t step = 0;
    std::string name(const char* leaf) const { return prefix + leaf; }
};

Attention attention_of(const Ask& ask)
{
    const NameParts parts = split_name(ask.name);
    Attention attention;
    attention.prefix = parts.module + "." + parts.leaf.substr(0, parts.leaf.find('.')) + ".";
    attention.vision = parts.vision;
    attention.cross = parts.leaf.starts_with("cross_attn.");
    attention.step = ask.step;
    return attention;
}

// Rows of heads, [group][row][head][d]; a group is an image of the vision encoder.
struct Heads {
    Numbers numbers;
    std::string name;
    std::int64_t step = 0, groups = 1, rows = 0, heads = 0, d = 0;
    std::int64_t start(std::int64_t group, std::int64_t row, std::int64_t head) const
    {
        return ((group * rows + row) * heads + head) * d;
    }
    const float* row(std::int64_t group, std::int64_t r, std::int64_t head) const
    {
        return numbers->values.data() + start(group, r, head);
    }
};

Heads heads_of(const Numbers& numbers, const std::string& name, std::int64_t step)
{
    const std::size_t n = numbers->shape.size();
    if (n != 3 && n != 5)
        throw Untold{fmt::format("{} has shape {}, which has no heads", name, shape_text(numbers->shape))};
    const std::vector<std::int64_t>& shape = numbers->shape;
    return {numbers,      name,        step, n == 5 ? shape[0] : 1, n == 5 ? shape[1] * shape[2] : shape[0],
            shape[n - 2], shape[n - 1]};
}

Heads queries(const WhyRun& run, const Attention& attention)
{
    const std::string name = attention.name(attention.vision  ? "q_proj"
                                            : attention.cross ? "q_norm"
                                                              : "rotated_q");
    return heads_of(run.need(name, attention.step), name, attention.step);
}

// Keys or values: of the image (vision), made once with the first tokens (cross), of every token so far
// (self).
Heads cached(const WhyRun& run, const Attention& attention, const char* leaf)
{
    const std::string name = attention.name(leaf);
    if (attention.vision || attention.cross)
        return heads_of(run.need(name, attention.vision ? attention.step : 0), name, 0);
    for (std::int64_t step = 0; step <= attention.step; ++step)
        run.need(name, step);  // says which one is missing
    const Numbers all = run.side(attention.step).rows_so_far(name);
    if (!all)
        throw Untold{fmt::format("{} has other shapes in other steps", name)};
    return heads_of(all, name, attention.step);
}

Heads keys(const WhyRun& run, const Attention& attention)
{
    return cached(run, attention, attention.vision ? "k_proj" : attention.cross ? "k_norm" : "rotated_k");
}

// Where key and row stand in a text or an image.
std::string key_text(const WhyRun& run, const Attention& attention, std::int64_t key, std::int64_t group)
{
    if (attention.cross)
        return run.places().patch(key, false);
    if (!attention.vision)
        return run.places().token(key);
    const std::int64_t rows = run.facts().n_padded_patches * run.facts().max_tiles;
    return run.places().patch(group * rows + key, true);
}

// A number of a tensor whose rows are spread over the steps.
Ask cached_number(const WhyRun& run, const Heads& heads, std::int64_t position)
{
    std::int64_t step = 0;
    if (heads.step > 0)
        for (; step < heads.step; ++step) {
            const auto size = static_cast<std::int64_t>(run.need(heads.name, step)->values.size());
            if (position < size)
                break;
            position -= size;
        }
    return {heads.name, step, unravel(position, run.need(heads.name, step)->shape), {}, ""};
}

struct ScorePlace {
    std::int64_t group = 0, head = 0, row = 0, key = 0;
};

// [head token key], or [image head query key].
ScorePlace score_place(const Ask& ask)
{
    const std::vector<std::int64_t>& i = ask.indices;
    return i.size() == 4 ? ScorePlace{i[0], i[1], i[2], i[3]} : ScorePlace{0, i.at(0), i.at(1), i.at(2)};
}

void check_heads(const Heads& q, const Heads& k, const ScorePlace& at)
{
    if (q.d != k.d || q.groups != k.groups || k.heads < 1 || q.heads % k.heads != 0 || at.group >= q.groups ||
        at.head >= q.heads || at.row >= q.rows || at.key >= k.rows)
        throw Untold{fmt::format("{} and {} have sizes that do not match", q.name, k.name)};
}

void add_score_terms(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Attention attention = attention_of(ask);
    const ScorePlace at = score_place(ask);
    const Heads q = queries(run, attention), k = keys(run, attention);
    check_heads(q, k, at);
    const std::int64_t kv_head = at.head / (q.heads / k.heads);
    const float *const x = q.row(at.group, at.row, at.head), *const y = k.row(at.group, at.key, kv_head);
    const double scale = 1 / std::sqrt(static_cast<double>(q.d));
    std::vector<double> values;
    for (std::int64_t channel = 0; channel < q.d; ++channel)
        values.push_back(static_cast<double>(x[channel]) * y[channel] * scale);
    take_terms(answer, values, [&](std::size_t channel) -> Term {
        const std::int64_t in_query = q.start(at.group, at.row, at.head) + static_cast<std::int64_t>(channel);
        return {0, fmt::format("channel {}", channel),
                fmt::format("query {} x key {}", number_text(x[channel]), number_text(y[channel])),
                Ask{q.name, attention.step, unravel(in_query, q.numbers->shape), {}, ""}};
    });
}

// Of two tensors of one attention, the row that a score or probability is in.
std::vector<double> row_of(const WhyRun& run, const std::string& name, const Ask& ask)
{
    const Numbers numbers = run.need(name, ask.step);
    const std::int64_t n_keys = numbers->shape.empty() ? 0 : numbers->shape.back();
    const std::int64_t first =
        position_in(numbers, name, ask.indices) / std::max<std::int64_t>(1, n_keys) * n_keys;
    return {numbers->values.begin() + first, numbers->values.begin() + first + n_keys};
}

constexpr double hidden_below = -6e4;  // what a mask leaves of a score, in any dtype

// By which head and key a direction of the output is filled.
struct Gathered {
    std::vector<double> values, shares, worth;  // [head x key]: worth x share = value
};

Gathered gather(const WhyRun& run, const Attention& attention, const Ask& ask, std::int64_t group,
                std::int64_t row, double factor)
{
    const std::string probs_name = attention.name("probs"), output = attention.name("o_proj");
    const Numbers probs = run.need(probs_name, attention.step);
    const Heads v = cached(run, attention, "v_proj");
    const std::size_t n = probs->shape.size();
    if (n != (attention.vision ? 4u : 3u))
        throw Untold{fmt::format("{} has shape {}", probs_name, shape_text(probs->shape))};
    const std::int64_t n_keys = probs->shape[n - 1], n_rows = probs->shape[n - 2],
                       n_heads = probs->shape[n - 3];
    const std::int64_t width = n_heads * v.d;
    if (v.rows != n_keys || v.heads < 1 || n_heads % v.heads != 0 || row >= n_rows || group >= v.groups ||
        (n == 4 && group >= probs->shape[0]))
        throw Untold{fmt::format("{} and {} have sizes that do not match", probs_name, v.name)};
    std::vector<double> weights(static_cast<std::size_t>(width));
    if (ask.direction.empty()) {
        const std::vector<float> own = run.need_row(output, "weight", ask.indices.back());
        weights.assign(own.begin(), own.end());
    } else {
        const auto all = run.need_weight(output, "weight");
        if (static_cast<std::int64_t>(all->size()) == width * static_cast<std::int64_t>(ask.direction.size()))
            for (std::size_t i = 0; i < all->size(); ++i)
                weights[i % weights.size()] += ask.direction[i / weights.size()] * (*all)[i];
    }
    if (static_cast<std::int64_t>(weights.size()) != width)
        throw Untold{fmt::format("the weights of {} do not have the trace's sizes", output)};
    Gathered gathered;
    for (std::int64_t head = 0; head < n_heads; ++head)
        for (std::int64_t key = 0; key < n_keys; ++key) {
            const float* const value = v.row(group, key, head / (n_heads / v.heads));
            const double* const weight = weights.data() + head * v.d;
            double worth = 0;
            for (std::int64_t channel = 0; channel < v.d; ++channel)
                worth += weight[channel] * value[channel];
            const std::int64_t place = ((group * n_heads + head) * n_rows + row) * n_keys + key;
            gathered.shares.push_back(at(probs->values, place));
            gathered.worth.push_back(worth * factor);
            gathered.values.push_back(gathered.shares.back() * gathered.worth.back());
        }
    return gathered;
}

// "By head, every key together: head 3 +1.61, head 0 -0.82, ..."
std::string by_head(const Gathered& gathered, std::int64_t n_keys)
{
    constexpr std::size_t shown = 4;
    std::vector<std::pair<double, std::size_t>> heads;
    for (std::size_t i = 0; i < gathered.values.size(); ++i) {
        const std::size_t head = i / static_cast<std::size_t>(n_keys);
        if (head == heads.size())
            heads.emplace_back(0, head);
        heads.back().first += gathered.values[i];
    }
    std::stable_sort(heads.begin(), heads.end(),
                     [](const auto& x, const auto& y) { return std::fabs(x.first) > std::fabs(y.first); });
    std::string text = "By head, every key together:";
    for (std::size_t i = 0; i < std::min(shown, heads.size()); ++i)
        text += fmt::format("{} head {} {}{}", i > 0 ? "," : "", heads[i].second,
                            heads[i].first < 0 ? "" : "+", number_text(heads[i].first));
    return text + (heads.size() > shown ? ", ..." : ".");
}

}  // namespace

void sum_score(const WhyRun& run, const Ask& ask, Answer& answer)
{
    answer.how = "query x key, channel by channel, by the root of the head's size";
    add_score_terms(run, ask, answer);
}

void sum_masked_score(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const std::string scores = only_input(run, ask);
    const Ask score{scores, ask.step, ask.indices, {}, ""};
    const double before = value_of(run, score);
    answer.how = "the score with the mask added";
    const bool hidden = answer.value < hidden_below;
    take_terms(answer, {{before, "the score", "", score},
                        {hidden ? answer.value - before : 0.0,
                         hidden ? "the mask: this key may not be seen" : "the mask: this key may be seen", "",
                         std::nullopt}});
}

void sum_probability(const WhyRun& run, const Ask& ask, Answer& answer)
{
    constexpr std::size_t shown = 5;
    const Attention attention = attention_of(ask);
    const ScorePlace at = score_place(ask);
    const std::vector<double> scores = row_of(run, attention.name("masked_scores"), ask),
                              probs = row_of(run, ask.name, ask);
    const auto key = static_cast<std::size_t>(at.key);
    if (scores.size() != probs.size() || key >= scores.size())
        throw Untold{fmt::format("{} and its masked scores have sizes that do not match", ask.name)};
    answer.how = "softmax: e to the score, divided by the sum of that over every key";
    std::vector<std::size_t> order(probs.size());
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    const std::size_t count = std::min(shown, order.size());
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
        [&](std::size_t x, std::size_t y) { return probs[x] != probs[y] ? probs[x] > probs[y] : x < y; });
    answer.beside_title = fmt::format("What competes in the softmax over {} keys", probs.size());
    for (std::size_t i = 0; i < count; ++i)
        answer.beside.push_back({probs[order[i]],
                                 key_text(run, attention, static_cast<std::int64_t>(order[i]), at.group),
                                 fmt::format("score {}", number_text(scores[order[i]])), std::nullopt});
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (const double score : scores)
        sum += std::exp(score - largest);
    if (scores[key] < hidden_below && largest > hidden_below) {
        answer.notes.push_back("The mask hides this key, so it gets nothing.");
        take_terms(answer, {{scores[key], "the mask", "", std::nullopt}});
    } else
        add_score_terms(run, ask, answer);
    answer.total_is = "the score";
    answer.computed = std::exp(scores[key] - largest) / sum;
    answer.floor = 1e-5 * std::max(1e-3, answer.computed) + answer.floor * answer.computed;
}

void sum_context(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Attention attention = attention_of(ask);
    const std::string probs_name = attention.name("probs");
    const Numbers probs = run.need(probs_name, ask.step);
    const Heads v = cached(run, attention, "v_proj");
    const std::vector<std::int64_t>& i = ask.indices;
    const bool vision = attention.vision;
    const std::size_t n = probs->shape.size();
    if (n != (vision ? 4u : 3u) || i.size() != (vision ? 5u : 3u))
        throw Untold{fmt::format("{} has shape {}", probs_name, shape_text(probs->shape))};
    const std::int64_t group = vision ? i[0] : 0, head = i[i.size() - 2], channel = i.back();
    const Numbers context = run.need(ask.name, ask.step);
    const std::int64_t row = vision ? i[1] * context->shape[2] + i[2] : i[0];
    const std::int64_t n_keys = probs->shape[n - 1], n_rows = probs->shape[n - 2],
                       n_heads = probs->shape[n - 3];
    if (v.rows != n_keys || v.heads < 1 || n_heads % v.heads != 0 || channel >= v.d || row >= n_rows ||
        head >= n_heads || group >= v.groups || (vision && group >= probs->shape[0]))
        throw Untold{fmt::format("{} and {} have sizes that do not match", probs_name, v.name)};
    const std::int64_t kv_head = head / (n_heads / v.heads);
    const float* const share = probs->values.data() + ((group * n_heads + head) * n_rows + row) * n_keys;
    std::vector<double> values;
    for (std::int64_t key = 0; key < n_keys; ++key)
        values.push_back(static_cast<double>(share[key]) * v.row(group, key, kv_head)[channel]);
    answer.how = fmt::format("what head {} gathered: probability x value over every key", head);
    take_terms(answer, values, [&](std::size_t k) -> Term {
        const auto key = static_cast<std::int64_t>(k);
        return {0, key_text(run, attention, key, group),
                fmt::format("probability {} x value {}", number_text(share[k]),
                            number_text(v.row(group, key, kv_head)[channel])),
                cached_number(run, v, v.start(group, key, kv_head) + channel)};
    });
}

void sum_attention_output(const WhyRun& run, const Ask& ask, Answer& answer)
{
    const Attention attention = attention_of(ask);
    const bool gated = ask.name.ends_with(".gated");
    answer.how = "what every head gathered from every key: probability x what that key's value adds here";
    if (attention.cross && answer.value == 0 && is_unseeing(run, ask)) {
        answer.how = "this row may see no image: the row mask takes away whatever attention gathered";
        take_terms(answer, std::vector<Term>{});
        return;
    }
    const std::vector<std::int64_t>& i = ask.indices;
    const Numbers output = run.need(ask.name, ask.step);
    const std::int64_t group = attention.vision ? i.at(0) : 0,
                       row = attention.vision ? i.at(1) * output->shape.at(2) + i.at(2) : i.at(0);
    run.need_weights(attention.name("o_proj"));
    std::string told_by;
    const double factor = gated ? gate_of(run, ask, told_by) : 1;
    const Gathered gathered = gather(run, attention, ask, group, row, factor);
    if (gated)
        answer.how += fmt::format(", times tanh(gate) = {} ({})", number_text(factor), told_by);
    const auto n_keys = run.need(attention.name("probs"), ask.step)->shape.back();
    answer.notes.push_back(by_head(gathered, n_keys));
    take_terms(answer, gathered.values, [&](std::size_t at) -> Term {
        const auto head = static_cast<std::int64_t>(at) / n_keys,
                   key = static_cast<std::int64_t>(at) % n_keys;
        std::vector<std::int64_t> place{head, row, key};
        if (attention.vision)
            place.insert(place.begin(), group);
        return {0, fmt::format("{} through head {}", key_text(run, attention, key, group), head),
                fmt::format("attention {} x {}", number_text(gathered.shares[at]),
                            number_text(gathered.worth[at])),
                Ask{attention.name("probs"), ask.step, place, {}, ""}};
    });
}

}  // namespace pictor
