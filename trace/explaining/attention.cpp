// Attention: scores, probabilities and context, of all three attentions; masked scores: masks.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/attention.h"
#include "trace/explaining/least_squares.h"

namespace pictor {
namespace {

constexpr float nothing = std::numeric_limits<float>::quiet_NaN();
constexpr double most_work = 4e8;  // multiplications of one prediction; beyond, only the first heads

// Queries [group][rows][heads][d], keys [group][keys][kv_heads][d]; a group is a picture, or the sentence.
struct Heads {
    Numbers numbers;
    std::int64_t groups = 1, rows = 0, heads = 0, d = 0;
    const float* row(std::int64_t group, std::int64_t row, std::int64_t head) const
    {
        return numbers->values.data() + ((group * rows + row) * heads + head) * d;
    }
};

// [token head channel], [key kv_head channel] or [image tile patch head channel].
std::optional<Heads> as_heads(const Numbers& numbers)
{
    if (!numbers || (numbers->shape.size() != 3 && numbers->shape.size() != 5))
        return std::nullopt;
    const std::vector<std::int64_t>& shape = numbers->shape;
    const std::size_t n = shape.size();
    Heads heads{numbers, n == 5 ? shape[0] : 1, n == 5 ? shape[1] * shape[2] : shape[0], shape[n - 2],
                shape[n - 1]};
    return heads.rows > 0 && heads.heads > 0 && heads.d > 0 ? std::optional(heads) : std::nullopt;
}

enum class Sharing { by_group, by_remainder };  // which key head serves query head h: h / (H / KV), or h % KV

std::int64_t key_head(Sharing sharing, std::int64_t head, std::int64_t heads, std::int64_t kv_heads)
{
    return sharing == Sharing::by_group ? head / (heads / kv_heads) : head % kv_heads;
}

Predicted multiply_scores(const std::optional<Heads>& q, const std::optional<Heads>& k, double scale,
                          Sharing sharing, std::int64_t size)
{
    if (!q || !k || q->d != k->d || q->groups != k->groups || q->heads % k->heads != 0 ||
        static_cast<double>(q->groups * q->heads) * static_cast<double>(q->rows) *
                static_cast<double>(k->rows) !=
            static_cast<double>(size))
        return std::nullopt;
    TraceTensor scores{{q->groups, q->heads, q->rows, k->rows},
                       std::vector<float>(static_cast<std::size_t>(size), nothing)};
    const double each = static_cast<double>(q->rows) * static_cast<double>(k->rows * q->d);
    const std::int64_t computed =
        std::clamp<std::int64_t>(static_cast<std::int64_t>(most_work / each), 1, q->groups * q->heads);
    for (std::int64_t at = 0; at < computed; ++at) {
        const std::int64_t group = at / q->heads, head = at % q->heads;
        float* out = scores.values.data() + at * q->rows * k->rows;
        for (std::int64_t row = 0; row < q->rows; ++row)
            for (std::int64_t key = 0; key < k->rows; ++key) {
                const float* x = q->row(group, row, head);
                const float* y = k->row(group, key, key_head(sharing, head, q->heads, k->heads));
                double sum = 0;
                for (std::int64_t channel = 0; channel < q->d; ++channel)
                    sum += static_cast<double>(x[channel]) * y[channel];
                *out++ = static_cast<float>(sum * scale);
            }
    }
    return scores;
}

Predicted multiply_context(const Numbers& probs, const std::optional<Heads>& v, Sharing sharing,
                           const std::vector<std::int64_t>& shape)
{
    if (!probs || !v || probs->shape.size() < 3 || shape.size() < 3)
        return std::nullopt;
    const std::size_t n = probs->shape.size();
    const std::int64_t keys = probs->shape[n - 1], rows = probs->shape[n - 2], heads = probs->shape[n - 3],
                       groups = n == 4 ? probs->shape[0] : 1;
    const double size =
        static_cast<double>(groups * rows) * static_cast<double>(heads) * static_cast<double>(v->d);
    if (keys != v->rows || groups != v->groups || heads % v->heads != 0 ||
        size != static_cast<double>(checked_size("context", shape)))
        return std::nullopt;
    TraceTensor context{shape,
                        std::vector<float>(static_cast<std::size_t>(groups * rows * heads * v->d), nothing)};
    const double each = static_cast<double>(heads * v->d) * static_cast<double>(keys);
    const std::int64_t computed =
        std::clamp<std::int64_t>(static_cast<std::int64_t>(most_work / each), 1, groups * rows);
    for (std::int64_t query = 0; query < computed; ++query) {
        const std::int64_t group = query / rows, row = query % rows;
        for (std::int64_t head = 0; head < heads; ++head) {
            const float* p = probs->values.data() + ((group * heads + head) * rows + row) * keys;
            const std::int64_t kv = key_head(sharing, head, heads, v->heads);
            std::vector<double> sum(static_cast<std::size_t>(v->d));
            for (std::int64_t key = 0; key < keys; ++key)
                for (std::int64_t channel = 0; channel < v->d; ++channel)
                    at(sum, channel) += static_cast<double>(p[key]) * v->row(group, key, kv)[channel];
            std::copy(sum.begin(), sum.end(), context.values.begin() + (query * heads + head) * v->d);
        }
    }
    return context;
}

void softmax_row(float* row, std::int64_t keys, double scale, double extra)
{
    double largest = -std::numeric_limits<double>::infinity(), sum = extra;
    for (std::int64_t key = 0; key < keys; ++key)
        largest = std::max(largest, static_cast<double>(row[key]) * scale);
    std::vector<double> exps(static_cast<std::size_t>(keys));
    for (std::int64_t key = 0; key < keys; ++key)
        sum += at(exps, key) = std::exp(static_cast<double>(row[key]) * scale - largest);
    for (std::int64_t key = 0; key < keys; ++key)
        row[key] = static_cast<float>(at(exps, key) / sum);
}

std::optional<Heads> queries(const Side& side, const NameParts& parts, const char* leaf)
{
    return as_heads(in_attention(side, parts, leaf));
}

// Keys and values: of the picture (vision), of every token so far (self), made once with the first tokens
// (cross).
std::optional<Heads> keys(const Side& side, const NameParts& parts, const char* leaf)
{
    const std::string attention = parts.leaf.substr(0, parts.leaf.find('.'));
    const std::string name = parts.module + "." + attention + "." + leaf;
    if (parts.vision)
        return as_heads(side.find(name));
    return as_heads(attention == "cross_attn" ? side.find(name, 0) : side.rows_so_far(name));
}

// Each picture's keys or values replaced by the first one's: a cache that knows of one picture.
std::optional<Heads> first_picture_for_all(const Side& side, const std::optional<Heads>& all)
{
    const Numbers mask = side.find("cross_attention_mask", 0);
    if (!all || !mask || mask->shape.size() != 3 || mask->shape[1] < 2 || all->groups != 1 ||
        all->rows % mask->shape[1] != 0)
        return std::nullopt;
    const std::int64_t images = mask->shape[1],
                       size = static_cast<std::int64_t>(all->numbers->values.size()) / images;
    auto first = std::make_shared<TraceTensor>(*all->numbers);
    for (std::int64_t image = 1; image < images; ++image)
        std::copy_n(all->numbers->values.begin(), size, first->values.begin() + image * size);
    return as_heads(first);
}

double one_by_root(const Heads& queries) { return 1 / std::sqrt(static_cast<double>(queries.d)); }

// Scores of decode steps whose keys are not those made with the first tokens, but the same in all steps:
// twice as many queries as a key has channels tell what keys those were, and later steps must meet them.
Predicted fit_other_keys(const Side& side, const NameParts& parts, const std::string& name)
{
    const std::optional<Heads> first_keys = keys(side, parts, "k_norm");
    const Numbers own = side.find(name);
    const auto own_queries = queries(side, parts, "q_norm");
    if (!first_keys || !own || !own_queries || own_queries->d != first_keys->d ||
        own_queries->heads % first_keys->heads != 0)
        return std::nullopt;
    const std::int64_t d = first_keys->d, n_keys = first_keys->rows, heads = own_queries->heads,
                       per_kv = heads / first_keys->heads;
    const Predicted fresh = multiply_scores(own_queries, first_keys, one_by_root(*own_queries),
                                            Sharing::by_group, static_cast<std::int64_t>(own->values.size()));
    if (!fresh || misfit(fresh, *own).max <= rounding_floor(*own, side.rounding_of(name)))
        return std::nullopt;  // nothing stale here
    const double work_of_head = 3.0 * static_cast<double>(d * d) * static_cast<double>(n_keys);
    const std::int64_t fitted_heads =
        std::clamp<std::int64_t>(static_cast<std::int64_t>(most_work / work_of_head), 1, first_keys->heads) *
        per_kv;
    std::vector<LeastSquares> maps(
        static_cast<std::size_t>(fitted_heads / per_kv),
        LeastSquares(static_cast<std::size_t>(d), static_cast<std::size_t>(n_keys)));
    std::int64_t n_rows = 0;
    for (std::int64_t step = 1;
         step < static_cast<std::int64_t>(side.trace().steps().size()) && n_rows < 2 * d; ++step) {
        const auto rows = as_heads(side.find(parts.module + ".cross_attn.q_norm", step));
        const Numbers scores = side.find(name, step);
        if (!rows || !scores || rows->heads != heads || rows->d != d ||
            static_cast<std::int64_t>(scores->values.size()) != heads * rows->rows * n_keys)
            continue;
        n_rows += rows->rows * per_kv;
        for (std::int64_t head = 0; head < fitted_heads; ++head)
            for (std::int64_t row = 0; row < rows->rows; ++row) {
                const float* const query = rows->row(0, row, head);
                at(maps, head / per_kv)
                    .add({query, query + d}, scores->values.data() + (head * rows->rows + row) * n_keys);
            }
    }
    if (n_rows < d + d / 4 + 2)
        return std::nullopt;
    for (LeastSquares& map : maps)
        map.solve();
    TraceTensor fitted{own->shape, std::vector<float>(own->values.size(), nothing)};
    for (std::int64_t head = 0; head < fitted_heads; ++head)
        for (std::int64_t row = 0; row < own_queries->rows; ++row) {
            const float* const query = own_queries->row(0, row, head);
            const std::vector<double> scores = at(maps, head / per_kv).predict({query, query + d});
            std::copy(scores.begin(), scores.end(),
                      fitted.values.begin() + (head * own_queries->rows + row) * n_keys);
        }
    return fitted;
}

struct ScaleMistake {
    const char* text;
    double (*scale)(double d_head, double n_heads);
};

const ScaleMistake scale_mistakes[] = {
    {"query x key unscaled", [](double, double) { return 1.0; }},
    {"query x key / d_head", [](double d, double) { return 1 / d; }},
    {"query x key x sqrt(d_head)", [](double d, double) { return std::sqrt(d); }},
    {"query x key / sqrt(2 d_head)", [](double d, double) { return 1 / std::sqrt(2 * d); }},
    {"query x key / sqrt(d_head / 2)", [](double d, double) { return 1 / std::sqrt(d / 2); }},
    {"query x key / sqrt(n_heads d_head)", [](double d, double heads) { return 1 / std::sqrt(d * heads); }}};

std::vector<StepRule> score_rules(const Pair& pair, const NameParts& parts)
{
    const char* const q = parts.vision ? "q_proj" : is_cross(parts) ? "q_norm" : "rotated_q";
    const char* const k = parts.vision ? "k_proj" : is_cross(parts) ? "k_norm" : "rotated_k";
    const auto size_on = [name = pair.name](const Side& side) { return side.entry(name)->size(); };
    const auto rule = [&](CauseName cause, std::string text, const char* query, const char* key,
                          Sharing sharing) {
        return StepRule{cause, std::move(text), [=](const Side& side) -> Predicted {
                            const auto rows = queries(side, parts, query);
                            return rows ? multiply_scores(rows, keys(side, parts, key), one_by_root(*rows),
                                                          sharing, size_on(side))
                                        : std::nullopt;
                        }};
    };
    std::vector<StepRule> rules{
        rule("", fmt::format("{} x {} / sqrt(d_head)", q, k), q, k, Sharing::by_group)};
    for (const ScaleMistake& mistake : scale_mistakes)
        rules.push_back({"attention_scale", mistake.text, [=](const Side& side) -> Predicted {
                             const auto rows = queries(side, parts, q);
                             const double scale = rows ? mistake.scale(static_cast<double>(rows->d),
                                                                       static_cast<double>(rows->heads))
                                                       : 0;
                             return rows ? multiply_scores(rows, keys(side, parts, k), scale,
                                                           Sharing::by_group, size_on(side))
                                         : std::nullopt;
                         }});
    if (parts.vision)
        return rules;
    const CauseName missing = is_cross(parts) ? CauseName("query_and_key_norms") : CauseName("rope_missing");
    const char* const without = is_cross(parts) ? "normalised" : "rotated";
    rules.push_back(
        rule("gqa_head_mapping", "query head h with key head h % n_kv_heads", q, k, Sharing::by_remainder));
    rules.push_back(
        rule(missing, fmt::format("query not {} x key", without), "q_proj", k, Sharing::by_group));
    rules.push_back(
        rule(missing, fmt::format("query x key not {}", without), q, "k_proj", Sharing::by_group));
    rules.push_back(rule(missing, fmt::format("query x key, neither {}", without), "q_proj", "k_proj",
                         Sharing::by_group));
    if (!is_cross(parts))
        return rules;
    rules.push_back({"no_rope_on_cross_attention", "rotated query x key / sqrt(d_head)",
                     [=](const Side& side) -> Predicted {
                         const Predicted turned = rotate_halves(in_attention(side, parts, q),
                                                                side.find("language_model.rotary_emb.cos"),
                                                                side.find("language_model.rotary_emb.sin"));
                         const auto rows =
                             turned ? as_heads(std::make_shared<TraceTensor>(*turned)) : std::nullopt;
                         return rows ? multiply_scores(rows, keys(side, parts, k), one_by_root(*rows),
                                                       Sharing::by_group, size_on(side))
                                     : std::nullopt;
                     }});
    rules.push_back({"cross_keys_stale", "query x the first image's keys for every image",
                     [=](const Side& side) -> Predicted {
                         const auto rows = queries(side, parts, q);
                         return rows
                                    ? multiply_scores(rows, first_picture_for_all(side, keys(side, parts, k)),
                                                      one_by_root(*rows), Sharing::by_group, size_on(side))
                                    : std::nullopt;
                     }});
    return rules;
}

}  // namespace

bool is_cross(const NameParts& parts) { return parts.leaf.rfind("cross_attn.", 0) == 0; }

Numbers in_attention(const Side& side, const NameParts& parts, const char* leaf)
{
    const std::string attention = parts.leaf.substr(0, parts.leaf.find('.'));
    return side.find(parts.module + "." + attention + "." + leaf);
}

Predicted by_row(const Numbers& numbers, const ChangeRow& change)
{
    if (!numbers || numbers->shape.size() < 3 || numbers->shape.back() == 0)
        return std::nullopt;
    TraceTensor result = *numbers;
    const std::int64_t keys = width_of(result), rows_of_head = result.shape[result.shape.size() - 2];
    for (std::int64_t row = 0; row < rows_of(result); ++row)
        change(result.values.data() + row * keys, row % std::max<std::int64_t>(1, rows_of_head), keys, row);
    return result;
}

Judgement judge_scores(const Pair& pair, const NameParts& parts)
{
    std::vector<StepRule> rules = score_rules(pair, parts);
    Judgement judgement = judge_by_rules(pair, rules);
    // A fit of many keys meets most scores better than a rule does; it has a say where no rule is followed.
    if (judgement.verdict == Verdict::fault && judgement.causes.empty() && is_cross(parts) &&
        pair.a.step() > 0) {
        rules.push_back(
            {"cross_keys_stale",
             "q_norm x one other set of keys in every decode step, kept from another image",
             [parts, name = pair.name](const Side& side) { return fit_other_keys(side, parts, name); }});
        judgement = judge_by_rules(pair, rules);
    }
    return judgement;
}

Judgement judge_probs(const Pair& pair, const NameParts& parts)
{
    const auto rule = [&](CauseName cause, const char* text, const char* leaf, double scale, double extra) {
        return StepRule{cause, text, [=](const Side& side) -> Predicted {
                            return by_row(in_attention(side, parts, leaf),
                                          [&](float* row, auto, std::int64_t n_keys, auto) {
                                              softmax_row(row, n_keys, scale, extra);
                                          });
                        }};
    };
    std::vector<StepRule> rules{
        rule("", "softmax of masked_scores", "masked_scores", 1, 0),
        rule("mask_not_used", "softmax of scores, the mask not used", "scores", 1, 0),
        rule("softmax_plus_one", "softmax with 1 more in the sum", "masked_scores", 1, 1)};
    const auto unseen = [&](const char* text, bool uniform) {
        return StepRule{
            "all_zero_bias_rows", text, [=](const Side& side) -> Predicted {
                const std::vector<char> sees = rows_that_see(side);
                const Numbers masked = in_attention(side, parts, "masked_scores");
                if (!masked || masked->shape.size() != 3 ||
                    static_cast<std::int64_t>(sees.size()) != masked->shape[1])
                    return std::nullopt;
                return by_row(masked, [&](float* row, std::int64_t token, std::int64_t n_keys, auto) {
                    softmax_row(row, n_keys, 1, 0);
                    if (!at(sees, token))
                        std::fill_n(row, n_keys, uniform ? 1.0f / static_cast<float>(n_keys) : 0.0f);
                });
            }};
    };
    if (is_cross(parts)) {
        rules.push_back(unseen("softmax of masked_scores, rows that see nothing set to zero", false));
        rules.push_back(unseen("softmax of masked_scores, rows that see nothing spread evenly", true));
    }
    return judge_by_rules(pair, rules);
}

Judgement judge_context(const Pair& pair, const NameParts& parts)
{
    const auto context = [parts](const Side& side, const std::optional<Heads>& values, Sharing sharing) {
        const TraceEntry* entry = side.entry(parts.module + "." + parts.leaf);
        return multiply_context(in_attention(side, parts, "probs"), values, sharing,
                                entry ? entry->shape : std::vector<std::int64_t>{});
    };
    const auto rule = [&](CauseName cause, const char* text, const char* values, Sharing sharing) {
        return StepRule{cause, text,
                        [=](const Side& side) { return context(side, keys(side, parts, values), sharing); }};
    };
    std::vector<StepRule> rules{rule("", "probs x v_proj", "v_proj", Sharing::by_group)};
    if (!parts.vision)
        rules.push_back(rule("gqa_head_mapping", "probs of head h x values of head h % n_kv_heads", "v_proj",
                             Sharing::by_remainder));
    rules.push_back(rule("keys_as_values", "probs x keys",
                         parts.vision      ? "k_proj"
                         : is_cross(parts) ? "k_norm"
                                           : "rotated_k",
                         Sharing::by_group));
    if (is_cross(parts)) {
        rules.push_back(
            {"row_mask", "probs x v_proj, rows that see nothing set to zero",
             [=](const Side& side) -> Predicted {
                 Predicted silenced = context(side, keys(side, parts, "v_proj"), Sharing::by_group);
                 const std::vector<char> sees = rows_that_see(side);
                 if (!silenced || static_cast<std::int64_t>(sees.size()) != rows_of(*silenced, 2))
                     return std::nullopt;
                 const std::int64_t width = width_of(*silenced, 2);
                 for (std::size_t row = 0; row < sees.size(); ++row)
                     if (!sees[row])
                         std::fill_n(silenced->values.begin() + static_cast<std::int64_t>(row) * width, width,
                                     0.0f);
                 return silenced;
             }});
        rules.push_back(
            {"cross_keys_stale", "probs x the first image's values for every image", [=](const Side& side) {
                 return context(side, first_picture_for_all(side, keys(side, parts, "v_proj")),
                                Sharing::by_group);
             }});
    }
    return judge_by_rules(pair, rules);
}

}  // namespace pictor
