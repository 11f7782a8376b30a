// Causes in who may see what.
#include <cmath>

#include "tests/trace/explain_fixture.h"

using namespace pictor_test;

namespace {

const std::string vision = "vision_model.transformer.layers.0", self = "language_model.layers.0",
                  cross = "language_model.layers.1";
const std::string two =
    "golden/cases/two_apart/meta";  // 12 tokens, 2 pictures of 4 tiles of 5 patches; 40 keys

using Sees = std::function<bool(std::int64_t row, std::int64_t key)>;

// Scores of some heads, [heads][rows][keys], hidden where a row may not see a key.
Values masked(const Values& scores, std::int64_t rows, std::int64_t keys, const Sees& sees)
{
    Values result = scores;
    for (std::size_t i = 0; i < result.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        if (!sees(at / keys % rows, at % keys))
            result[i] = hidden_score;
    }
    return result;
}

void check_self(const Sees& sees)
{
    const std::string attention = self + ".self_attn.";
    check_cause({{attention + "scores"}}, attention + "masked_scores",
                masked(golden_values(attention + "scores"), 11, 11, sees));
}

// The masks of two pictures: rows 2 to 5 see the first, of 2 x 2 tiles, later ones the second, of 3 x 1.
bool sees_tile(std::int64_t row, std::int64_t key)
{
    const std::int64_t tile = key / 5;
    return row < 2 ? false : row < 6 ? tile < 4 : tile >= 4 && tile < 7;
}

bool sees_nothing(std::int64_t row) { return row < 2; }

void check_cross(const Sees& sees)
{
    const std::string attention = cross + ".cross_attn.";
    check_cause({.inputs = {"cross_attention_mask", attention + "scores"}, .golden = two},
                attention + "masked_scores", masked(golden_values(attention + "scores", two), 12, 40, sees));
}

// Vision rows: 4 tiles of 5 patches filled up to 8; the picture has 3 x 1 tiles, so that the last one is
// absent.
bool filled_up(std::int64_t row) { return row % 8 >= 5; }
bool absent(std::int64_t row) { return row / 8 == 3; }
bool pads(std::int64_t row) { return filled_up(row) || absent(row); }

void check_vision(const Sees& sees)
{
    const std::string attention = vision + ".self_attn.";
    const Values scores = golden_values(attention + "scores");
    const Values right = masked(scores, 32, 32, [](auto row, auto key) { return !(pads(row) && pads(key)); });
    check_cause({.inputs = {"aspect_ratio_ids", attention + "scores"},
                 .both = {{{"aspect_ratio_ids", 0}, {7}}, {{attention + "masked_scores", 0}, right}}},
                attention + "masked_scores", masked(scores, 32, 32, sees));
}

Values softmax_of(const Values& scores, std::int64_t keys, double extra = 0)
{
    Values probs = scores;
    for (std::size_t row = 0; row < scores.size(); row += static_cast<std::size_t>(keys)) {
        const auto begin = probs.begin() + static_cast<std::ptrdiff_t>(row), end = begin + keys;
        const double largest = *std::max_element(begin, end);
        double sum = extra;
        for (auto each = begin; each != end; ++each)
            sum += std::exp(*each - largest);
        for (auto each = begin; each != end; ++each)
            *each = static_cast<float>(std::exp(*each - largest) / sum);
    }
    return probs;
}

}  // namespace

TEST_CASE("CAUSE causal_mask_missing: tokens see all later ones", "[explain]")
{
    check_self([](auto, auto) { return true; });
}
TEST_CASE("CAUSE causal_mask_strict: a token does not see itself", "[explain]")
{
    check_self([](auto row, auto key) { return key < row; });
}
TEST_CASE("CAUSE causal_mask_loose: a token sees the next one", "[explain]")
{
    check_self([](auto row, auto key) { return key <= row + 1; });
}

TEST_CASE("CAUSE mask_not_used: softmax of the scores before the mask", "[explain]")
{
    const std::string attention = self + ".self_attn.";
    check_cause({{attention + "scores", attention + "masked_scores"}}, attention + "probs",
                softmax_of(golden_values(attention + "scores"), 11));
}

TEST_CASE("CAUSE mask_by_absolute_position: rows counted from the beginning in decode", "[explain]")
{
    // The causal mask of the first token.
    const std::string attention = self + ".self_attn.", golden = "golden/cases/2x2/meta";
    check_cause({.inputs = {attention + "scores"}, .step = 1}, attention + "masked_scores",
                masked(golden_values(attention + "scores", golden, 1), 1, 12,
                       [](auto, auto key) { return key == 0; }));
    // The prompt's first row, which sees nothing, handed to a generated token.
    check_cause({.inputs = {}, .step = 1}, "cross_attention_mask", Values(4, 0.0f));
    // The prompt's first row, which here sees one tile, used on the scores of a generated token.
    Values mask = golden_values("cross_attention_mask");
    mask[0] = 1;
    const Values scores = golden_values(cross + ".cross_attn.scores", golden, 1);
    check_cause({.inputs = {"cross_attention_mask", cross + ".cross_attn.scores"},
                 .step = 1,
                 .both = {{{"cross_attention_mask", 0}, mask}}},
                cross + ".cross_attn.masked_scores",
                masked(scores, 1, 20, [](auto, auto key) { return key < 5; }));
}

TEST_CASE("CAUSE generated_tokens_with_several_images: seen under one rule, not under the other", "[explain]")
{
    check_cause({.inputs = {}, .golden = "golden/cases/two_apart/transformers", .step = 1},
                "cross_attention_mask", Values(8, 0.0f));
}

TEST_CASE("CAUSE all_zero_bias_rows: rows that see nothing are hidden, no softmax over every key",
          "[explain]")
{
    check_cross(sees_tile);
    const std::string attention = cross + ".cross_attn.";
    const Values right =
        golden_values(attention + "probs");  // [4 heads][11 tokens][20 keys]; the first 3 tokens see nothing
    for (const float instead : {0.0f, 1.0f / 20}) {
        Values wrong = right;
        for (std::size_t i = 0; i < wrong.size(); ++i)
            wrong[i] = i / 20 % 11 < 3 ? instead : wrong[i];
        check_cause({{"cross_attention_mask", attention + "masked_scores"}}, attention + "probs", wrong);
    }
}

TEST_CASE("CAUSE cross_mask_missing: every row sees every tile", "[explain]")
{
    check_cross([](auto, auto) { return true; });
    check_cause({{}}, "cross_attention_mask", Values(44, 1.0f));
}

TEST_CASE("CAUSE absent_tiles_as_keys: a visible picture's absent tiles are seen too", "[explain]")
{
    check_cross([](auto row, auto key) { return sees_nothing(row) || (row < 6 ? key < 20 : key >= 20); });
}

TEST_CASE("CAUSE causal_cross_attention: sdpa without a mask", "[explain]")
{
    check_cross([](auto row, auto key) { return key <= row; });
}

TEST_CASE("CAUSE row_mask_shifted: a row sees what its neighbour may see", "[explain]")
{
    check_cross([](auto row, auto key) {
        return sees_nothing(std::min<std::int64_t>(row + 1, 11)) ||
               sees_tile(std::min<std::int64_t>(row + 1, 11), key);
    });
    check_cross([](auto row, auto key) {
        return sees_nothing(std::max<std::int64_t>(row - 1, 0)) ||
               sees_tile(std::max<std::int64_t>(row - 1, 0), key);
    });
    const Values right = golden_values("cross_attention_mask");
    Values late(right.begin(), right.end() - 4), early(right.begin() + 4, right.end());
    late.insert(late.begin(), right.begin(), right.begin() + 4);
    early.insert(early.end(), right.end() - 4, right.end());
    check_cause({{}}, "cross_attention_mask", late);
    check_cause({{}}, "cross_attention_mask", early);
}

TEST_CASE("CAUSE mask_inverted: what may be seen is hidden", "[explain]")
{
    check_cross([](auto row, auto key) { return !sees_tile(row, key); });
}

TEST_CASE("CAUSE padding_masks_padding_only: real patches do see padding", "[explain]")
{
    check_vision([](auto, auto key) { return !pads(key); });
    check_vision([](auto row, auto key) { return !pads(row) && !pads(key); });
}

TEST_CASE("CAUSE vision_mask_missing: padding sees padding", "[explain]")
{
    check_vision([](auto, auto) { return true; });
}
TEST_CASE("CAUSE vision_mask_of_rows_only: absent tiles are no padding", "[explain]")
{
    check_vision([](auto row, auto key) { return !(filled_up(row) && filled_up(key)); });
}
TEST_CASE("CAUSE vision_mask_of_tiles_only: filled-up rows are no padding", "[explain]")
{
    check_vision([](auto row, auto key) { return !(absent(row) && absent(key)); });
}
TEST_CASE("CAUSE absent_tiles_hidden: from every query", "[explain]")
{
    check_vision([](auto, auto key) { return !absent(key); });
}
TEST_CASE("CAUSE vision_mask_inverted: real patches do not see one another", "[explain]")
{
    check_vision([](auto row, auto key) { return pads(row) || pads(key); });
}

TEST_CASE("CAUSE row_mask: rows that may see no picture reach the residual", "[explain]")
{
    const std::string attention = cross + ".cross_attn.",
                      rows = "full_text_row_masked_out_mask";  // the first 3 tokens see nothing
    // Silenced already in the context.
    Values context = golden_values(attention + "context");
    std::fill_n(context.begin(), 3 * 32, 0.0f);
    check_cause({{rows, attention + "probs", attention + "v_proj"}}, attention + "context", context);
    // Let through in front of o_proj: what the weights make of them, known or not.
    const Values passed = by_weights(attention + "o_proj", golden_values(attention + "context"), 32);
    for (const std::string& model : {std::string(), base_checkpoint})
        check_cause({.inputs = {rows, attention + "context"}, .model = model}, attention + "o_proj", passed);
    // Let through behind the MLP.
    const Values mlp = golden_values(cross + ".mlp"), right = golden_values(cross + ".mlp.gated_output");
    const double factor = static_cast<double>(right[10 * 32]) / mlp[10 * 32];
    check_cause({{rows, cross + ".mlp"}}, cross + ".mlp.gated_output",
                mapped(mlp, [&](double x) { return factor * x; }));
}
