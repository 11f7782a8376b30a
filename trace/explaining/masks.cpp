// Who may see what: masked scores of all three attentions.
#include <algorithm>
#include <limits>

#include "base/at.h"
#include "trace/explaining/attention.h"

namespace pictor {
namespace {

constexpr float lowest = std::numeric_limits<float>::lowest();

// Which tiles a text row may see, [token][image x tile]; keys of a tile stand together.
struct TileMask {
    std::vector<float> may_see;
    std::int64_t tokens = 0, tiles = 0, tiles_of_image = 0, patches = 0;
    bool sees(std::int64_t token, std::int64_t tile) const { return at(may_see, token * tiles + tile) != 0; }
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

StepRule cross_mask_rule(const NameParts& parts, CauseName cause, const char* text, MaySee may_see)
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

std::vector<StepRule> cross_mask_rules(const NameParts& parts)
{
    const auto image_of = [](const TileMask& mask, std::int64_t token, std::int64_t tile) {
        for (std::int64_t other = tile / mask.tiles_of_image * mask.tiles_of_image,
                          last = other + mask.tiles_of_image;
             other < last; ++other)
            if (mask.sees(token, other))
                return true;
        return false;
    };
    return {
        cross_mask_rule(
            parts, "",
            "scores with the tiles hidden that the row may not see, and rows that see nothing left open",
            [](const TileMask& m, auto token, auto tile, auto) {
                return m.sees_nothing(token) || m.sees(token, tile);
            }),
        cross_mask_rule(parts, "all_zero_bias_rows", "scores with rows that see nothing masked altogether",
                        [](const TileMask& m, auto token, auto tile, auto) { return m.sees(token, tile); }),
        cross_mask_rule(parts, "cross_mask_missing", "scores without a mask",
                        [](const TileMask&, auto, auto, auto) { return true; }),
        cross_mask_rule(parts, "absent_tiles_as_keys",
                        "scores with absent tiles of a visible image left open",
                        [image_of](const TileMask& m, auto token, auto tile, auto) {
                            return m.sees_nothing(token) || image_of(m, token, tile);
                        }),
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
        {"mask_by_absolute_position", "scores with the first rows of the prompt's mask",
         [parts](const Side& side) -> Predicted {
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

StepRule self_mask_rule(
    const NameParts& parts, CauseName cause, const char* text,
    std::function<bool(std::int64_t position, std::int64_t row, std::int64_t key)> may_see)
{
    return {cause, text, [parts, may_see](const Side& side) -> Predicted {
                return by_row(in_attention(side, parts, "scores"),
                              [&](float* row, std::int64_t token, std::int64_t n_keys, std::int64_t) {
                                  for (std::int64_t key = 0; key < n_keys; ++key)
                                      if (!may_see(side.first_token() + token, token, key))
                                          row[key] = lowest;
                              });
            }};
}

std::vector<StepRule> self_mask_rules(const NameParts& parts)
{
    return {self_mask_rule(parts, "", "scores with later tokens hidden",
                           [](auto position, auto, auto key) { return key <= position; }),
            self_mask_rule(parts, "causal_mask_missing", "scores without a causal mask",
                           [](auto, auto, auto) { return true; }),
            self_mask_rule(parts, "causal_mask_strict", "scores with the token itself hidden too",
                           [](auto position, auto, auto key) { return key < position; }),
            self_mask_rule(parts, "causal_mask_loose", "scores with one later token left open",
                           [](auto position, auto, auto key) { return key <= position + 1; }),
            self_mask_rule(parts, "mask_by_absolute_position",
                           "scores with positions counted from this step's first token",
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
    if (!ids || static_cast<std::int64_t>(ids->values.size()) != images || facts.n_padded_patches == 0 ||
        rows % facts.n_padded_patches != 0)
        return std::nullopt;
    PaddingRows padding{{}, {}, images, rows};
    for (std::int64_t image = 0; image < images; ++image) {
        const auto [high, wide] = side.grid_of(image);
        for (std::int64_t row = 0; row < rows; ++row) {
            padding.filled_up.push_back(row % facts.n_padded_patches >= facts.n_patches);
            padding.absent.push_back(row / facts.n_padded_patches >= std::max<std::int64_t>(1, high * wide));
        }
    }
    return padding;
}

StepRule vision_mask_rule(const NameParts& parts, CauseName cause, const char* text,
                          std::function<bool(bool query_pads, bool key_pads)> hidden, bool rows_count = true,
                          bool tiles_count = true)
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
                return by_row(scores,
                              [&](float* row, std::int64_t query, std::int64_t n_keys, std::int64_t at) {
                                  const std::int64_t image = at / rows_of_image;
                                  for (std::int64_t key = 0; key < n_keys; ++key)
                                      if (hidden(pads(image, query), pads(image, key)))
                                          row[key] = lowest;
                              });
            }};
}

std::vector<StepRule> vision_mask_rules(const NameParts& parts)
{
    const auto both = [](bool query, bool key) { return query && key; };
    const auto keys_only = [](bool, bool key) { return key; };
    return {vision_mask_rule(parts, "", "scores hidden where both query and key are padding", both),
            vision_mask_rule(parts, "padding_masks_padding_only",
                             "scores with padding hidden from every query", keys_only),
            vision_mask_rule(parts, "padding_masks_padding_only",
                             "scores hidden where query or key is padding",
                             [](bool query, bool key) { return query || key; }),
            vision_mask_rule(parts, "vision_mask_missing", "scores without a mask",
                             [](bool, bool) { return false; }),
            vision_mask_rule(parts, "vision_mask_of_rows_only",
                             "scores hidden between padding rows, absent tiles left open", both, true, false),
            vision_mask_rule(parts, "vision_mask_of_tiles_only",
                             "scores hidden between rows of absent tiles, padding rows left open", both,
                             false, true),
            vision_mask_rule(parts, "absent_tiles_hidden", "scores with absent tiles hidden from every query",
                             keys_only, false, true),
            vision_mask_rule(parts, "vision_mask_inverted",
                             "scores hidden where neither query nor key is padding",
                             [](bool query, bool key) { return !query && !key; })};
}

}  // namespace

Judgement judge_masked_scores(const Pair& pair, const NameParts& parts)
{
    return judge_by_rules(pair, parts.vision      ? vision_mask_rules(parts)
                                : is_cross(parts) ? cross_mask_rules(parts)
                                                  : self_mask_rules(parts));
}

}  // namespace pictor
