// Causes in what goes into the model: ids, pixels, grids, and the token that is chosen.
#include <cmath>

#include "tests/trace/explain_fixture.h"

using namespace pictor_test;

namespace {

constexpr double mean[3] = {0.48145466, 0.4578275, 0.40821073},
                 std_of[3] = {0.26862954, 0.26130258, 0.27577711};
constexpr std::size_t of_colour = 14 * 14, of_tile = 3 * of_colour;  // numbers

std::size_t colour_at(std::size_t i) { return i / of_colour % 3; }

// The golden pixels, 0 to 1, normalised in another way.
Values normalised(const std::function<double(double pixel, std::size_t colour)>& f)
{
    Values values = golden_values("pixel_values");
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t colour = colour_at(i);
        values[i] = static_cast<float>(f(values[i] * std_of[colour] + mean[colour], colour));
    }
    return values;
}

void check_pixels(const std::function<double(double pixel, std::size_t colour)>& f)
{
    check_cause({{}}, "pixel_values", normalised(f));
}

Values bottom_rows(const std::function<double(std::size_t colour)>& f)  // those of the last tile
{
    Values values = golden_values("pixel_values");
    for (std::size_t i = 3 * of_tile; i < values.size(); ++i)
        if (i % of_colour >= of_colour / 2)
            values[i] = static_cast<float>(f(colour_at(i)));
    return values;
}

}  // namespace

TEST_CASE("CAUSE aspect_id_0: ids counted from 0, or none", "[explain]")
{
    check_cause({{}}, "aspect_ratio_ids", {5});
    check_cause({{}}, "aspect_ratio_ids", {0});
    // The ids are right, and the row before theirs is taken from the table.
    const std::string step = "vision_model.pre_tile_positional_embedding";
    const pictor::ModelWeights weights(base_checkpoint);
    const double gate = std::tanh(weights.find(step, "gate")->at(0));
    const auto table = weights.find(step + ".embedding", "weight");  // [9 ids][4 tiles x 18]
    Values wrong = golden_values("vision_model.patch_embedding");    // [4 tiles][4 patches][18]
    for (std::size_t i = 0; i < wrong.size(); ++i)
        wrong[i] = static_cast<float>(wrong[i] + gate * table->at(5 * 72 + i / 72 * 18 + i % 18));
    check_cause({.inputs = {"aspect_ratio_ids", "vision_model.patch_embedding"}, .model = base_checkpoint},
                step, wrong);
}

TEST_CASE("CAUSE bos_doubled: the prompt begins twice", "[explain]")
{
    Values twice = golden_values("input_ids");
    twice.insert(twice.begin(), twice.front());
    check_cause({{}}, "input_ids", twice);
}

TEST_CASE("CAUSE chosen_token: not the best of its logits", "[explain]")
{
    check_cause({.inputs = {"lm_head"}, .step = 1}, "input_ids", {7});
}

TEST_CASE("CAUSE tie_order: the later one of two equal logits", "[explain]")
{
    Values logits = golden_values("lm_head");  // of 11 tokens, 96 words; the last row chooses 2
    logits[10 * 96 + 40] = logits[10 * 96 + 2];
    check_cause({.inputs = {"lm_head"}, .step = 1, .both = {{{"lm_head", 0}, logits}}}, "input_ids", {40});
}

TEST_CASE("CAUSE embedding_rows_plus_8: the row of <|image|> is another one", "[explain]")
{
    const std::string step = "language_model.embed_tokens";
    Values wrong = golden_values(step);  // id 96, the first behind the vocabulary, stands in row 3
    std::copy_n(wrong.begin(), 32, wrong.begin() + 3 * 32);
    check_cause({{"input_ids", "lm_head"}}, step, wrong);
}

TEST_CASE("CAUSE image_id_of_tokenizer: 128011 is not replaced by 128256", "[explain]")
{
    Values right = golden_values("input_ids"), wrong = right;
    right[3] = 128256;  // 96 there
    wrong[3] = 128011;
    check_cause({.inputs = {}, .both = {{{"input_ids", 0}, right}}}, "input_ids", wrong);
}

TEST_CASE("CAUSE colour_order: blue first, in the picture or in the patches", "[explain]")
{
    const Values pixels = golden_values("pixel_values");
    Values wrong = pixels, flipped = pixels;
    for (std::size_t i = 0; i < pixels.size(); ++i) {
        const std::size_t colour = colour_at(i), other = 2 - colour;
        flipped[i] = pixels[i / of_tile * of_tile + other * of_colour + i % of_colour];
        wrong[i] =
            static_cast<float>((flipped[i] * std_of[other] + mean[other] - mean[colour]) / std_of[colour]);
    }
    check_cause({{}}, "pixel_values", wrong);
    Values patches;  // [4 tiles][2 x 2 patches][3 colours][7][7]
    for (std::size_t at = 0; at < 16; ++at)
        for (std::size_t in = 0; in < 147; ++in)
            patches.push_back(flipped[at / 4 * of_tile + in / 49 * of_colour +
                                      (at % 4 / 2 * 7 + in % 49 / 7) * 14 + at % 2 * 7 + in % 7]);
    check_cause({.inputs = {"pixel_values"}, .model = base_checkpoint}, "vision_model.patch_embedding",
                by_weights("vision_model.patch_embedding", patches, 147));
}

TEST_CASE("CAUSE pixels_not_normalised: from 0 to 1", "[explain]")
{
    check_pixels([](double pixel, std::size_t) { return pixel; });
}

TEST_CASE("CAUSE pixels_not_rescaled: from 0 to 255", "[explain]")
{
    check_pixels([](double pixel, std::size_t c) { return (255 * pixel - mean[c]) / std_of[c]; });
}

TEST_CASE("CAUSE mean_and_std_swapped: one in the other's place", "[explain]")
{
    check_pixels([](double pixel, std::size_t c) { return (pixel - std_of[c]) / mean[c]; });
}

TEST_CASE("CAUSE pixel_range: from -1 to 1", "[explain]")
{
    check_pixels([](double pixel, std::size_t) { return (pixel - 0.5) / 0.5; });
}

TEST_CASE("CAUSE std_not_divided: left out, or multiplied", "[explain]")
{
    check_pixels([](double pixel, std::size_t c) { return pixel - mean[c]; });
    check_pixels([](double pixel, std::size_t c) { return (pixel - mean[c]) * std_of[c]; });
}

TEST_CASE("CAUSE pad_after_normalise: padding of 0 where black belongs", "[explain]")
{
    const Values black = bottom_rows([](std::size_t c) { return -mean[c] / std_of[c]; });
    check_cause({.inputs = {}, .both = {{{"pixel_values", 0}, black}}}, "pixel_values",
                bottom_rows([](std::size_t) { return 0.0; }));
}

TEST_CASE("explain: another canvas is no mistake in its padding", "[explain]")
{
    Values wrong = golden_values("pixel_values");
    std::fill(wrong.begin() + static_cast<std::ptrdiff_t>(of_tile), wrong.end(),
              0.0f);  // one tile instead of four
    const Compared found = compare_parts({{}}, "pixel_values", wrong);
    REQUIRE(found.explanation.faults.size() == 1);
    CHECK(found.explanation.causes.empty());
    CHECK_THAT(found.explanation.faults[0].text, ContainsSubstring("different tiles hold an image"));
}
