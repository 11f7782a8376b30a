// Attention: scores, masked scores, probabilities and context, of all three attentions.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "trace/explain/steps.h"

namespace pictor {
namespace {

constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr float nothing = std::numeric_limits<float>::quiet_NaN();
constexpr double most_work = 4e8;   // multiplications of one prediction; beyond that only the first heads are computed

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
    Heads heads{numbers, n == 5 ? shape[0] : 1, n == 5 ? shape[1] * shape[2] : shape[0], shape[n - 2], shape[n - 1]};
    return heads.rows > 0 && heads.heads > 0 && heads.d > 0 ? std::optional(heads) : std::nullopt;
}

enum class Sharing { by_group, by_remainder };  // which key head serves query head h: h / (H / KV), or h % KV

std::int64_t key_head(Sharing sharing, std::int64_t head, std::int64_t heads, std::int64_t kv_heads)
{
    return sharing == Sharing::by_group ? head / (heads / kv_heads) : head % kv_heads;
}

Predicted multiply_scores(const std::optional<Heads>& q, const std::optional<Heads>& k, double scale, Sharing sharing, std::int64_t size)
{
    if (!q || !k || q->d != k->d || q->groups != k->groups || q->heads % k->heads != 0 ||
        static_cast<double>(q->groups * q->heads) * static_cast<double>(q->rows) * static_cast<double>(k->rows) != static_cast<double>(size))
        return std::nullopt;
    TraceTensor scores{{q->groups, q->heads, q->rows, k->rows}, std::vector<float>(static_cast<std::size_t>(size), nothing)};
    const double each = static_cast<double>(q->rows) * static_cast<double>(k->rows * q->d);
    const std::int64_t computed = std::clamp<std::int64_t>(static_cast<std::int64_t>(most_work / each), 1, q->groups * q->heads);
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

Predicted multiply_context(const Numbers& probs, const std::optional<Heads>& v, Sharing sharing, const std::vector<std::int64_t>& shape)
{
    if (!probs || !v || probs->shape.size() < 3 || shape.size() < 3)
        return std::nullopt;
    const std::size_t n = probs->shape.size();
    const std::int64_t keys = probs->shape[n - 1], rows = probs->shape[n - 2], heads = probs->shape[n - 3], groups = n == 4 ? probs->shape[0] : 1;
    const double size = static_cast<double>(groups * rows) * static_cast<double>(heads) * static_cast<double>(v->d);
    if (keys != v->rows || groups != v->groups || heads % v->heads != 0 || size != static_cast<double>(checked_size("context", shape)))
        return std::nullopt;
    TraceTensor context{shape, std::vector<float>(static_cast<std::size_t>(groups * rows * heads * v->d), nothing)};
    const double each = static_cast<double>(heads * v->d) * static_cast<double>(keys);
    const std::int64_t computed = std::clamp<std::int64_t>(static_cast<std::int64_t>(most_work / each), 1, groups * rows);
    for (std::int64_t at = 0; at < computed; ++at) {
        const std::int64_t group = at / rows, row = at % rows;
        for (std::int64_t head = 0; head < heads; ++head) {
            const float* p = probs->values.data() + ((group * heads + head) * rows + row) * keys;
            const std::int64_t kv = key_head(sharing, head, heads, v->heads);
            std::vector<double> sum(static_cast<std::size_t>(v->d));
            for (std::int64_t key = 0; key < keys; ++key)
                for (std::int64_t channel = 0; channel < v->d; ++channel)
                    sum[static_cast<std::size_t>(channel)] += static_cast<double>(p[key]) * v->row(group, key, kv)[channel];
            std::copy(sum.begin(), sum.end(), context.values.begin() + (at * heads + head) * v->d);
        }
    }
    return context;
}

// Scores or probabilities row by row.
template <typename ChangeRow> Predicted by_row(const Numbers& numbers, ChangeRow change)
{
    if (!numbers || numbers->shape.size() < 3 || numbers->shape.back() == 0)
        return std::nullopt;
    TraceTensor result = *numbers;
    const std::int64_t keys = width_of(result), rows_of_head = result.shape[result.shape.size() - 2];
    for (std::int64_t row = 0; row < rows_of(result); ++row)
        change(result.values.data() + row * keys, row % std::max<std::int64_t>(1, rows_of_head), keys, row);
    return result;
}

void soften(float* row, std::int64_t keys, double scale, double extra)
{
    double largest = -std::numeric_limits<double>::infinity(), sum = extra;
    for (std::int64_t key = 0; key < keys; ++key)
        largest = std::max(largest, static_cast<double>(row[key]) * scale);
    std::vector<double> exps(static_cast<std::size_t>(keys));
    for (std::int64_t key = 0; key < keys; ++key)
        sum += exps[static_cast<std::size_t>(key)] = std::exp(static_cast<double>(row[key]) * scale - largest);
    for (std::int64_t key = 0; key < keys; ++key)
        row[key] = static_cast<float>(exps[static_cast<std::size_t>(key)] / sum);
}

Numbers in_attention(const Side& side, const NameParts& parts, const char* leaf)
{
    const std::string attention = parts.leaf.substr(0, parts.leaf.find('.'));
    return side.find(parts.module + "." + attention + "." + leaf);
}

std::optional<Heads> queries(const Side& side, const NameParts& parts, const char* leaf) { return as_heads(in_attention(side, parts, leaf)); }

// Keys and values: of the picture (vision), of every token so far (self), made once with the first tokens (cross).
std::optional<Heads> keys(const Side& side, const NameParts& parts, const char* leaf)
{
    const std::string attention = parts.leaf.substr(0, parts.leaf.find('.'));
    const std::string name = parts.module + "." + attention + "." + leaf;
    if (parts.vision)
        return as_heads(side.find(name));
    return as_heads(attention == "cross_attn" ? side.find(name, 0) : side.rows_so_far(name));
}

bool is_cross(const NameParts& parts) { return parts.leaf.rfind("cross_attn.", 0) == 0; }

// Which tiles a text row may see, [token][image x tile]; keys of a tile stand together.
struct TileMask {
    std::vector<float> may_see;
    std::int64_t tokens = 0, tiles = 0, tiles_of_image = 0, patches = 0;
    bool sees(std::int64_t token, std::int64_t tile) const { return may_see[static_cast<std::size_t>(token * tiles + tile)] != 0; }
    bool sees_nothing(std::int64_t token) const
    {
        for (std::int64_t tile = 0; tile < tiles; ++tile)
            if (sees(token, tile))
                return false;
        return true;
    }
};

std::optional<TileMask> tile_mask(const Side& side, std::int64_t step, std::int64_t n_keys)
{
    const Numbers mask = side.find("cross_attention_mask", step);
    if (!mask || mask->shape.size() != 3)
        return std::nullopt;
    TileMask result{mask->values, mask->shape[0], mask->shape[1] * mask->shape[2], mask->shape[2], 0};
    if (result.tiles == 0 || n_keys % result.tiles != 0)
        return std::nullopt;
    result.patches = n_keys / result.tiles;
    return result;
}

// One rule of who sees what in cross-attention.
using MaySee = std::function<bool(const TileMask&, std::int64_t token, std::int64_t tile, std::int64_t key)>;

Rule cross_mask_rule(const NameParts& parts, const char* cause, const char* text, MaySee may_see)
{
    return {cause, text, [parts, may_see](const Side& side) -> Predicted {
        const Numbers scores = in_attention(side, parts, "scores");
        if (!scores || scores->shape.size() != 3)
            return std::nullopt;
        const auto mask = tile_mask(side, side.step(), scores->shape[2]);
        if (!mask || mask->tokens != scores->shape[1])
            return std::nullopt;
        return by_row(scores, [&](float* row, std::int64_t token, std::int64_t n_keys, std::int64_t) {
            for (std::int64_t key = 0; key < n_keys; ++key)
                if (!may_see(*mask, token, key / mask->patches, key))
                    row[key] = lowest;
        });
    }};
}

std::vector<Rule> cross_mask_rules(const NameParts& parts)
{
    const auto image_of = [](const TileMask& mask, std::int64_t token, std::int64_t tile) {
        for (std::int64_t other = tile / mask.tiles_of_image * mask.tiles_of_image, last = other + mask.tiles_of_image; other < last; ++other)
            if (mask.sees(token, other))
                return true;
        return false;
    };
    return {
        cross_mask_rule(parts, "", "scores with the tiles hidden that the row may not see, and rows that see nothing left open",
                        [](const TileMask& m, auto token, auto tile, auto) { return m.sees_nothing(token) || m.sees(token, tile); }),
        cross_mask_rule(parts, "all_zero_bias_rows", "scores with rows that see nothing hidden altogether",
                        [](const TileMask& m, auto token, auto tile, auto) { return m.sees(token, tile); }),
        cross_mask_rule(parts, "cross_mask_missing", "scores without a mask", [](const TileMask&, auto, auto, auto) { return true; }),
        cross_mask_rule(parts, "absent_tiles_as_keys", "scores with absent tiles of a visible picture left open",
                        [image_of](const TileMask& m, auto token, auto tile, auto) { return m.sees_nothing(token) || image_of(m, token, tile); }),
        cross_mask_rule(parts, "causal_cross_attention", "scores with a causal mask",
                        [](const TileMask&, auto token, auto, auto key) { return key <= token; }),
        cross_mask_rule(parts, "row_mask_shifted", "scores with the mask of the row after",
                        [](const TileMask& m, auto token, auto tile, auto) {
                            const auto next = std::min<std::int64_t>(token + 1, m.tokens - 1);
                            return m.sees_nothing(next) || m.sees(next, tile);
                        }),
        cross_mask_rule(parts, "row_mask_shifted", "scores with the mask of the row before",
                        [](const TileMask& m, auto token, auto tile, auto) {
                            const auto before = std::max<std::int64_t>(token - 1, 0);
                            return m.sees_nothing(before) || m.sees(before, tile);
                        }),
        cross_mask_rule(parts, "mask_inverted", "scores with the visible tiles hidden",
                        [](const TileMask& m, auto token, auto tile, auto) { return !m.sees(token, tile); }),
        {"mask_by_absolute_position", "scores with the first rows of the prompt's mask", [parts](const Side& side) -> Predicted {
            const Numbers scores = in_attention(side, parts, "scores");
            if (!scores || scores->shape.size() != 3 || side.step() == 0)
                return std::nullopt;
            const auto mask = tile_mask(side, 0, scores->shape[2]);
            if (!mask || mask->tokens < scores->shape[1])
                return std::nullopt;
            return by_row(scores, [&](float* row, std::int64_t token, std::int64_t n_keys, std::int64_t) {
                for (std::int64_t key = 0; key < n_keys; ++key)
                    if (!mask->sees_nothing(token) && !mask->sees(token, key / mask->patches))
                        row[key] = lowest;
            });
        }}};
}

Rule self_mask_rule(const NameParts& parts, const char* cause, const char* text, std::function<bool(std::int64_t position, std::int64_t row, std::int64_t key)> may_see)
{
    return {cause, text, [parts, may_see](const Side& side) -> Predicted {
        return by_row(in_attention(side, parts, "scores"), [&](float* row, std::int64_t token, std::int64_t n_keys, std::int64_t) {
            for (std::int64_t key = 0; key < n_keys; ++key)
                if (!may_see(side.first_token() + token, token, key))
                    row[key] = lowest;
        });
    }};
}

std::vector<Rule> self_mask_rules(const NameParts& parts)
{
    return {self_mask_rule(parts, "", "scores with later tokens hidden", [](auto position, auto, auto key) { return key <= position; }),
            self_mask_rule(parts, "causal_mask_missing", "scores without a causal mask", [](auto, auto, auto) { return true; }),
            self_mask_rule(parts, "causal_mask_strict", "scores with the token itself hidden too", [](auto position, auto, auto key) { return key < position; }),
            self_mask_rule(parts, "causal_mask_loose", "scores with one later token left open", [](auto position, auto, auto key) { return key <= position + 1; }),
            self_mask_rule(parts, "mask_by_absolute_position", "scores with positions counted from this step's first token",
                           [](auto, auto row, auto key) { return key <= row; })};
}

// [image][tile x row]: 1 for the rows that fill a tile up and for every row of an absent tile.
struct PaddingRows {
    std::vector<char> filled_up, absent;
    std::int64_t images = 0, rows = 0;
};

std::optional<PaddingRows> padding_rows(const Side& side, std::int64_t images, std::int64_t rows)
{
    const Numbers ids = side.find("aspect_ratio_ids", 0);
    const ModelFacts& facts = side.facts();
    if (!ids || static_cast<std::int64_t>(ids->values.size()) != images || facts.n_padded_patches == 0 || rows % facts.n_padded_patches != 0)
        return std::nullopt;
    PaddingRows padding{{}, {}, images, rows};
    for (float id : ids->values) {
        const auto index = static_cast<std::int64_t>(id) - 1;
        const bool known = index >= 0 && index < static_cast<std::int64_t>(facts.aspect_ratios.size());
        const auto [high, wide] = known ? facts.aspect_ratios[static_cast<std::size_t>(index)] : std::pair<std::int64_t, std::int64_t>{1, 1};
        for (std::int64_t row = 0; row < rows; ++row) {
            padding.filled_up.push_back(row % facts.n_padded_patches >= facts.n_patches);
            padding.absent.push_back(row / facts.n_padded_patches >= high * wide);
        }
    }
    return padding;
}

Rule vision_mask_rule(const NameParts& parts, const char* cause, const char* text, std::function<bool(bool query_pads, bool key_pads)> hidden,
                      bool rows_count = true, bool tiles_count = true)
{
    return {cause, text, [=](const Side& side) -> Predicted {
        const Numbers scores = in_attention(side, parts, "scores");
        if (!scores || scores->shape.size() != 4 || scores->shape[2] != scores->shape[3])
            return std::nullopt;
        const std::int64_t rows = scores->shape[2], rows_of_image = scores->shape[1] * rows;
        const auto padding = padding_rows(side, scores->shape[0], rows);
        if (!padding)
            return std::nullopt;
        const auto pads = [&](std::int64_t image, std::int64_t row) {
            const auto at = static_cast<std::size_t>(image * rows + row);
            return (rows_count && padding->filled_up[at]) || (tiles_count && padding->absent[at]);
        };
        return by_row(scores, [&](float* row, std::int64_t query, std::int64_t n_keys, std::int64_t at) {
            const std::int64_t image = at / rows_of_image;
            for (std::int64_t key = 0; key < n_keys; ++key)
                if (hidden(pads(image, query), pads(image, key)))
                    row[key] = lowest;
        });
    }};
}

std::vector<Rule> vision_mask_rules(const NameParts& parts)
{
    const auto both = [](bool query, bool key) { return query && key; };
    const auto keys_only = [](bool, bool key) { return key; };
    return {vision_mask_rule(parts, "", "scores hidden where both query and key are padding", both),
            vision_mask_rule(parts, "padding_masks_padding_only", "scores with padding hidden from every query", keys_only),
            vision_mask_rule(parts, "padding_masks_padding_only", "scores hidden where query or key is padding", [](bool query, bool key) { return query || key; }),
            vision_mask_rule(parts, "vision_mask_missing", "scores without a mask", [](bool, bool) { return false; }),
            vision_mask_rule(parts, "vision_mask_of_rows_only", "scores hidden between filled-up rows, absent tiles left open", both, true, false),
            vision_mask_rule(parts, "vision_mask_of_tiles_only", "scores hidden between rows of absent tiles, filled-up rows left open", both, false, true),
            vision_mask_rule(parts, "absent_tiles_hidden", "scores with absent tiles hidden from every query", keys_only, false, true),
            vision_mask_rule(parts, "vision_mask_inverted", "scores hidden where neither query nor key is padding", [](bool query, bool key) { return !query && !key; })};
}

}  // namespace

Judgement judge_scores(const Pair& pair, const NameParts& parts)
{
    const char* const q = parts.vision ? "q_proj" : is_cross(parts) ? "q_norm" : "rotated_q";
    const char* const k = parts.vision ? "k_proj" : is_cross(parts) ? "k_norm" : "rotated_k";
    const std::string name = pair.name;
    const auto size_on = [name](const Side& side) { return side.entry(name)->size(); };
    const auto rule = [&](const char* cause, std::string text, const char* query, const char* key, std::function<double(double)> scale, Sharing sharing) {
        return Rule{cause, std::move(text), [=](const Side& side) -> Predicted {
            const auto rows = queries(side, parts, query);
            return rows ? multiply_scores(rows, keys(side, parts, key), scale(static_cast<double>(rows->d)), sharing, size_on(side)) : std::nullopt;
        }};
    };
    const auto root = [](double d) { return 1 / std::sqrt(d); };
    std::vector<Rule> rules{rule("", fmt::format("{} x {} / sqrt(d_head)", q, k), q, k, root, Sharing::by_group),
                            rule("attention_scale", "query x key unscaled", q, k, [](double) { return 1.0; }, Sharing::by_group),
                            rule("attention_scale", "query x key / d_head", q, k, [](double d) { return 1 / d; }, Sharing::by_group),
                            rule("attention_scale", "query x key x sqrt(d_head)", q, k, [](double d) { return std::sqrt(d); }, Sharing::by_group),
                            rule("attention_scale", "query x key / sqrt(2 d_head)", q, k, [](double d) { return 1 / std::sqrt(2 * d); }, Sharing::by_group),
                            rule("attention_scale", "query x key / sqrt(d_head / 2)", q, k, [](double d) { return 1 / std::sqrt(d / 2); }, Sharing::by_group)};
    rules.push_back({"attention_scale", "query x key / sqrt(n_heads d_head)", [=](const Side& side) -> Predicted {
        const auto rows = queries(side, parts, q);
        return rows ? multiply_scores(rows, keys(side, parts, k), root(static_cast<double>(rows->d * rows->heads)), Sharing::by_group, size_on(side)) : std::nullopt;
    }});
    if (!parts.vision) {
        const char* const norms = is_cross(parts) ? "query_and_key_norms" : "rope_missing";
        const char* const without = is_cross(parts) ? "normalised" : "rotated";
        rules.push_back(rule("gqa_head_mapping", "query head h with key head h % n_kv_heads", q, k, root, Sharing::by_remainder));
        rules.push_back(rule(norms, fmt::format("query not {} x key", without), "q_proj", k, root, Sharing::by_group));
        rules.push_back(rule(norms, fmt::format("query x key not {}", without), q, "k_proj", root, Sharing::by_group));
        rules.push_back(rule(norms, fmt::format("query x key, neither {}", without), "q_proj", "k_proj", root, Sharing::by_group));
    }
    if (is_cross(parts))
        rules.push_back({"no_rope_on_cross_attention", "rotated query x key / sqrt(d_head)", [=](const Side& side) -> Predicted {
            const Predicted turned = rotate_halves(in_attention(side, parts, "q_norm"), side.find("language_model.rotary_emb.cos"), side.find("language_model.rotary_emb.sin"));
            if (!turned)
                return std::nullopt;
            const auto rows = as_heads(std::make_shared<TraceTensor>(*turned));
            return multiply_scores(rows, keys(side, parts, "k_norm"), rows ? root(static_cast<double>(rows->d)) : 1, Sharing::by_group, size_on(side));
        }});
    return judge_by_rules(pair, rules);
}

Judgement judge_masked_scores(const Pair& pair, const NameParts& parts)
{
    return judge_by_rules(pair, parts.vision ? vision_mask_rules(parts) : is_cross(parts) ? cross_mask_rules(parts) : self_mask_rules(parts));
}

Judgement judge_probs(const Pair& pair, const NameParts& parts)
{
    const auto rule = [&](const char* cause, const char* text, const char* leaf, double scale, double extra) {
        return Rule{cause, text, [=](const Side& side) -> Predicted {
            return by_row(in_attention(side, parts, leaf), [&](float* row, auto, std::int64_t n_keys, auto) { soften(row, n_keys, scale, extra); });
        }};
    };
    std::vector<Rule> rules{rule("", "softmax of masked_scores", "masked_scores", 1, 0),
                            rule("mask_not_used", "softmax of scores, the mask left out", "scores", 1, 0),
                            rule("softmax_plus_one", "softmax with 1 more in the sum", "masked_scores", 1, 1)};
    const auto unseen = [&](const char* text, bool uniform) {
        return Rule{"all_zero_bias_rows", text, [=](const Side& side) -> Predicted {
            const std::vector<char> sees = rows_that_see(side);
            const Numbers masked = in_attention(side, parts, "masked_scores");
            if (!masked || masked->shape.size() != 3 || static_cast<std::int64_t>(sees.size()) != masked->shape[1])
                return std::nullopt;
            return by_row(masked, [&](float* row, std::int64_t token, std::int64_t n_keys, auto) {
                soften(row, n_keys, 1, 0);
                if (!sees[static_cast<std::size_t>(token)])
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
    const auto rule = [&](const char* cause, const char* text, const char* values, Sharing sharing, bool zero_unseen) {
        return Rule{cause, text, [=](const Side& side) -> Predicted {
            const TraceEntry* entry = side.entry(parts.module + "." + parts.leaf);
            Predicted context = multiply_context(in_attention(side, parts, "probs"), keys(side, parts, values), sharing,
                                                 entry ? entry->shape : std::vector<std::int64_t>{});
            const std::vector<char> sees = zero_unseen ? rows_that_see(side) : std::vector<char>{};
            if (context && zero_unseen) {
                const std::int64_t width = width_of(*context, 2);
                if (static_cast<std::int64_t>(sees.size()) != rows_of(*context, 2))
                    return std::nullopt;
                for (std::size_t row = 0; row < sees.size(); ++row)
                    if (!sees[row])
                        std::fill_n(context->values.begin() + static_cast<std::int64_t>(row) * width, width, 0.0f);
            }
            return context;
        }};
    };
    std::vector<Rule> rules{rule("", "probs x v_proj", "v_proj", Sharing::by_group, false)};
    if (!parts.vision)
        rules.push_back(rule("gqa_head_mapping", "probs of head h x values of head h % n_kv_heads", "v_proj", Sharing::by_remainder, false));
    if (is_cross(parts))
        rules.push_back(rule("row_mask", "probs x v_proj, rows that see nothing set to zero", "v_proj", Sharing::by_group, true));
    rules.push_back(rule("keys_as_values", "probs x keys", parts.vision ? "k_proj" : is_cross(parts) ? "k_norm" : "rotated_k", Sharing::by_group, false));
    return judge_by_rules(pair, rules);
}

}  // namespace pictor
