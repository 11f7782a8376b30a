// What goes into the model: ids, grids, masks; and the first thing made of them, the embeddings. Pixels:
// pixels.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/explaining/steps.h"

namespace pictor {
namespace {

Judgement fault(const Pair& pair, CauseName cause, std::string text, double before, double after)
{
    Judgement judgement;
    judgement.verdict = Verdict::fault;
    judgement.text = text;
    if (!cause.empty())
        judgement.causes.push_back({cause, std::move(text), pair.name, pair.a.step(), before, after, {}});
    return judgement;
}

Judgement unknown(std::string text)
{
    Judgement judgement;
    judgement.text = std::move(text);
    return judgement;
}

// How a step's token stands to the logits before it.
struct Choice {
    std::int64_t chosen = 0, best = 0;  // the first of the largest logits
    bool is_largest = false;            // the chosen one's logit is as large
};

Choice choice_of(const TraceTensor& ids, const TraceTensor& logits)
{
    const std::int64_t n_vocabulary = width_of(logits);
    const float* const row = logits.values.data() + logits.values.size() - n_vocabulary;
    Choice choice;
    choice.chosen = static_cast<std::int64_t>(ids.values.back());
    choice.best = std::max_element(row, row + n_vocabulary) - row;
    choice.is_largest =
        choice.chosen >= 0 && choice.chosen < n_vocabulary && row[choice.chosen] == row[choice.best];
    return choice;
}

// A decode step's token is the best of the logits before it; of equal ones the first, as argmax has it in
// both references.
Judgement judge_chosen_token(const Pair& pair, const TraceTensor& ids_a, const TraceTensor& ids_b)
{
    const Numbers logits_a = pair.a.find("lm_head", pair.a.step() - 1),
                  logits_b = pair.b.find("lm_head", pair.b.step() - 1);
    if (!logits_a || !logits_b || ids_a.values.empty() || ids_b.values.empty() || logits_a->values.empty() ||
        logits_b->values.empty())
        return unknown("the logits before it are not recorded");
    const Choice a = choice_of(ids_a, *logits_a), b = choice_of(ids_b, *logits_b);
    if (a.chosen == a.best && b.chosen == b.best) {
        Judgement judgement;
        judgement.verdict = Verdict::explained;
        judgement.text = "each is the best of its own logits";
        return judgement;
    }
    if (a.chosen != a.best && b.chosen != b.best)
        return fault(pair, {},
                     fmt::format("neither chose the best of its logits: a {} of {}, b {} of {}", a.chosen,
                                 a.best, b.chosen, b.best),
                     1, 0);
    const bool odd_is_a = a.chosen != a.best;
    const Choice& odd = odd_is_a ? a : b;
    if (odd.is_largest)
        return fault(pair, "tie_order",
                     fmt::format("the logits of {} and {} are equal; {} chose the later one", odd.best,
                                 odd.chosen, odd_is_a ? "a" : "b"),
                     1, 0);
    return fault(pair, "chosen_token",
                 fmt::format("{} chose {}, which is not the best of its logits ({})", odd_is_a ? "a" : "b",
                             odd.chosen, odd.best),
                 1, 0);
}

// Which row of the prompt's mask a generated token's row repeats; both references repeat the last one of one
// picture.
bool repeats_row(const Side& side, const TraceTensor& mask, bool first)
{
    const Numbers prompt = side.find("cross_attention_mask", 0);
    const std::int64_t width = mask.shape[1] * mask.shape[2];
    if (!prompt || prompt->shape.size() != 3 || prompt->shape[0] < 1 ||
        prompt->shape[1] * prompt->shape[2] != width)
        return false;
    const float* const row = prompt->values.data() + (first ? 0 : (prompt->shape[0] - 1) * width);
    for (std::int64_t token = 0; token < mask.shape[0]; ++token)
        if (!std::equal(row, row + width, mask.values.data() + token * width))
            return false;
    return true;
}

// The row of a generated token: what every later token may see.
Judgement judge_generated_mask(const Pair& pair, const TraceTensor& a, const TraceTensor& b)
{
    const auto blind = [](const TraceTensor& mask) {
        return std::all_of(mask.values.begin(), mask.values.end(), [](float v) { return v == 0; });
    };
    // With one picture both references let generated tokens see it; Meta's last interval of several ends with
    // the prompt.
    if (a.shape[1] > 1 && blind(a) != blind(b))
        return fault(pair, "generated_tokens_with_several_images",
                     fmt::format("{} lets generated tokens see no image, {} lets them see one",
                                 blind(a) ? "a" : "b", blind(a) ? "b" : "a"),
                     1, 0);
    for (const bool odd_is_a : {true, false}) {
        const Side &odd = odd_is_a ? pair.a : pair.b, &right = odd_is_a ? pair.b : pair.a;
        if (repeats_row(odd, odd_is_a ? a : b, true) && repeats_row(right, odd_is_a ? b : a, false))
            return fault(pair, "mask_by_absolute_position",
                         fmt::format("{} repeats the first row of the prompt's mask, {} the last",
                                     odd_is_a ? "a" : "b", odd_is_a ? "b" : "a"),
                         1, 0);
    }
    return fault(pair, {}, "generated tokens may see different tiles", 1, 0);
}

}  // namespace

Judgement judge_input_ids(const Pair& pair, const NameParts&)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b)
        return unknown("not recorded in full in both traces");
    if (pair.a.step() > 0)
        return judge_chosen_token(pair, *a, *b);
    const auto doubled = [](const std::vector<float>& longer, const std::vector<float>& shorter) {
        return longer.size() == shorter.size() + 1 && longer.size() > 1 && longer[0] == longer[1] &&
               std::equal(shorter.begin(), shorter.end(), longer.begin() + 1);
    };
    if (doubled(a->values, b->values) || doubled(b->values, a->values))
        return fault(pair, "bos_doubled",
                     fmt::format("{} begins with token {} twice",
                                 a->values.size() > b->values.size() ? "a" : "b", a->values.front()),
                     1, 0);
    std::size_t same = 0;
    while (same < std::min(a->values.size(), b->values.size()) && a->values[same] == b->values[same])
        ++same;
    const auto both_image = [&](float x, float y) {
        return (x == 128011 && y == 128256) || (x == 128256 && y == 128011);
    };
    if (same < std::min(a->values.size(), b->values.size()) && both_image(a->values[same], b->values[same]))
        return fault(pair, "image_id_of_tokenizer",
                     fmt::format("{} has the tokenizer's <|image|>, 128011, where the model's is 128256",
                                 a->values[same] == 128011 ? "a" : "b"),
                     1, 0);
    return fault(pair, {}, fmt::format("the prompts differ from token {} on", same), 1, 0);
}

Judgement judge_aspect_ratio_ids(const Pair& pair, const NameParts&)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->values.size() != b->values.size() || a->values.empty())
        return unknown("not recorded in full in both traces");
    // The trap aspect_id_0: 0 stands for no picture, the first grid is 1.
    for (const bool odd_is_a : {true, false}) {
        const std::vector<float>&odd = odd_is_a ? a->values : b->values,
              &right = odd_is_a ? b->values : a->values;
        bool one_less = true, zero = true;
        for (std::size_t i = 0; i < odd.size(); ++i) {
            one_less = one_less && odd[i] == right[i] - 1;
            zero = zero && odd[i] == 0;
        }
        if (one_less || zero)
            return fault(pair, "aspect_id_0",
                         fmt::format("ids of {} are {}: 0 stands for no image, the first grid is 1",
                                     odd_is_a ? "a" : "b", one_less ? "one less" : "0"),
                         1, 0);
    }
    const ModelFacts& facts = pair.a.facts();
    bool turned = true;
    for (std::size_t i = 0; i < a->values.size(); ++i) {
        const auto x = static_cast<std::int64_t>(a->values[i]) - 1,
                   y = static_cast<std::int64_t>(b->values[i]) - 1,
                   n = static_cast<std::int64_t>(facts.aspect_ratios.size());
        turned = turned && x >= 0 && y >= 0 && x < n && y < n &&
                 at(facts.aspect_ratios, x).first == at(facts.aspect_ratios, y).second &&
                 at(facts.aspect_ratios, x).second == at(facts.aspect_ratios, y).first;
    }
    if (turned)
        return fault(pair, "tiles_high_before_wide",
                     "the grids are turned: (w, h) in one, (h, w) in the other", 1, 0);
    return fault(pair, {}, "the images have different tile grids", 1, 0);
}

Judgement judge_cross_mask(const Pair& pair, const NameParts&)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name);
    if (!a || !b || a->shape != b->shape || a->shape.size() != 3)
        return unknown("not recorded in full and in the same shape in both traces");
    const auto count = [](const Numbers& x, float v) {
        return std::count(x->values.begin(), x->values.end(), v);
    };
    const auto size = static_cast<std::ptrdiff_t>(a->values.size());
    if (pair.a.step() > 0)
        return judge_generated_mask(pair, *a, *b);
    if (count(a, 1) == size || count(b, 1) == size)
        return fault(pair, "cross_mask_missing",
                     fmt::format("{} lets every row see every tile", count(a, 1) == size ? "a" : "b"), 1, 0);
    const std::int64_t width = a->shape[1] * a->shape[2], rows = a->shape[0];
    for (const std::int64_t shift : {1, -1}) {
        bool same = rows > 1;
        for (std::int64_t row = std::max<std::int64_t>(0, shift); row < std::min(rows, rows + shift) && same;
             ++row)
            same = std::equal(a->values.begin() + row * width, a->values.begin() + (row + 1) * width,
                              b->values.begin() + (row - shift) * width);
        if (same)
            return fault(pair, "row_mask_shifted",
                         fmt::format("a's rows are shifted one token {}", shift > 0 ? "later" : "earlier"), 1,
                         0);
    }
    return fault(pair, {}, "the rows may see different tiles", 1, 0);
}

Judgement judge_row_mask(const Pair& pair, const NameParts&)
{
    return judge_by_rules(
        pair,
        {{"", "1 where the row of cross_attention_mask sees any tile", [](const Side& side) -> Predicted {
              const Numbers mask = side.find("cross_attention_mask");
              if (!mask || mask->shape.size() != 3 || mask->shape[1] * mask->shape[2] == 0)
                  return std::nullopt;
              TraceTensor sees{{mask->shape[0]}, {}};
              const std::int64_t width = mask->shape[1] * mask->shape[2];
              for (std::int64_t row = 0; row < mask->shape[0]; ++row)
                  sees.values.push_back(std::any_of(mask->values.begin() + row * width,
                                                    mask->values.begin() + (row + 1) * width,
                                                    [](float v) { return v != 0; })
                                            ? 1.0f
                                            : 0.0f);
              return sees;
          }}});
}

// Rows of one table: equal ids, equal rows, in whichever trace.
Judgement judge_embeddings(const Pair& pair, const NameParts&)
{
    const Numbers a = pair.a.find(pair.name), b = pair.b.find(pair.name), ids_a = pair.a.find("input_ids"),
                  ids_b = pair.b.find("input_ids");
    if (!a || !b || !ids_a || !ids_b || a->shape.size() != 2 || b->shape.size() != 2 ||
        a->shape[1] != b->shape[1] || a->shape[0] != static_cast<std::int64_t>(ids_a->values.size()) ||
        b->shape[0] != static_cast<std::int64_t>(ids_b->values.size()))
        return unknown("input_ids are not recorded in both traces");
    // The table is longer than the vocabulary: the rows of <|image|> and its like stand behind the last
    // word's.
    const TraceEntry* const logits = pair.b.entry("lm_head");
    const double n_vocabulary = logits && !logits->shape.empty() ? static_cast<double>(logits->shape.back())
                                                                 : std::numeric_limits<double>::infinity();
    const auto width = static_cast<std::size_t>(a->shape[1]);
    double before = 0, of_words = 0, xx = 0, xy = 0;
    std::int64_t compared = 0, words = 0;
    for (std::size_t i = 0; i < ids_a->values.size(); ++i) {
        const auto j = static_cast<std::size_t>(
            std::find(ids_b->values.begin(), ids_b->values.end(), ids_a->values[i]) - ids_b->values.begin());
        if (j == ids_b->values.size())
            continue;
        const bool is_word = ids_a->values[i] < n_vocabulary;
        ++compared;
        words += is_word;
        for (std::size_t channel = 0; channel < width; ++channel) {
            const double x = a->values[i * width + channel], y = b->values[j * width + channel];
            before = std::max(before, std::fabs(x - y));
            of_words = is_word ? std::max(of_words, std::fabs(x - y)) : of_words;
            xx += y * y;
            xy += x * y;
        }
    }
    const double floor =
        rounding_floor(*a, pair.a.rounding_of(pair.name)) + rounding_floor(*b, pair.b.rounding_of(pair.name));
    if (before <= floor) {
        Judgement judgement;
        judgement.verdict = Verdict::explained;
        judgement.text = compared > 0 ? "equal ids have equal rows in both" : "no id occurs in both";
        return judgement;
    }
    if (words > 0 && of_words <= floor)
        return fault(
            pair, "embedding_rows_plus_8",
            fmt::format("words have equal rows in the two, ids beyond the vocabulary ({} and up) do not: the "
                        "table's last rows, "
                        "those of <|image|> and its like, are not read",
                        n_vocabulary),
            before, of_words);
    const double factor = xx > 0 ? xy / xx : 0, root = std::sqrt(static_cast<double>(width));
    for (const bool odd_is_a : {true, false})
        if (std::fabs(factor * (odd_is_a ? 1 / root : root) - 1) < 1e-3)
            return fault(pair, "embedding_scaled",
                         fmt::format("{} multiplies the embeddings by sqrt(d_model)", odd_is_a ? "a" : "b"),
                         before, 0);
    return fault(
        pair, {},
        fmt::format(
            "equal ids have different rows in the two (up to {} apart): different tables, or different rows "
            "of one",
            amount(before)),
        before, 0);
}

}  // namespace pictor
