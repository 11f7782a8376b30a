#include "reference/vision/encoder.h"

#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

struct Setup {
    RandomWeights random;
    VisionConfig config = small_vision_config();
    VisionWeights weights;
    VisionInputs images;

    explicit Setup(std::uint32_t seed)
        : random(seed), weights(random_vision_weights(random, config)),
          images(random_images(random, config, {{2, 2}, {5, 3}, {1, 1}}))
    {
    }
    Tensor encode(Rule rule, const Recorder& record = {}) const
    {
        return vision_encoder(weights, config, images, rule, record);
    }
    Rows in_double(Rule rule, const VisionMistakes& mistakes = {}) const
    {
        Rows rows;
        for (std::int64_t image = 0; image < images.n_images(); ++image)
            for (const Row& row : vision_encoder_in_double(weights, config, images, image, rule, mistakes))
                rows.push_back(row);
        return rows;
    }
    void check_avoids(bool VisionMistakes::*mistake) const
    {
        VisionMistakes mistakes;
        mistakes.*mistake = true;
        for (Rule rule : {Rule::meta, Rule::transformers}) {
            const Rows right = in_double(rule);
            CHECK(distance(in_double(rule, mistakes), right) > plainly_visible);
            CHECK(distance(encode(rule), right) < rounding);
        }
    }
};

// Channels first ... of every row.
Rows columns(const Rows& rows, std::size_t first, std::size_t count, std::size_t step)
{
    Rows part;
    for (const Row& row : rows) {
        Row channels;
        for (std::size_t i = 0; i < count; ++i)
            channels.push_back(row[first + i * step]);
        part.push_back(channels);
    }
    return part;
}

}  // namespace

TEST_CASE("the vision encoder agrees with double under both rules", "[encoder]")
{
    const Setup setup(1);
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        const Tensor states = setup.encode(rule);
        CHECK(states.shape == Shape{3, 3, 5, 30});
        CHECK(distance(states, setup.in_double(rule)) < rounding);
    }
}

TEST_CASE("a picture's states do not depend on the pictures beside it", "[encoder]")
{
    Setup setup(2);
    const Tensor together = setup.encode(Rule::meta);
    VisionInputs alone;
    alone.pixel_values = Tensor({1, 3, 3, 6, 6});
    std::copy_n(setup.images.pixel_values.row(1), alone.pixel_values.size(), alone.pixel_values.data());
    alone.aspect_ratio_ids = {5};
    alone.aspect_ratio_mask = {1, 1, 1};
    const Tensor states = vision_encoder(setup.weights, setup.config, alone, Rule::meta, {});
    CHECK(distance(states, Tensor([&] {
                       Tensor second(states.shape);
                       std::copy_n(together.row(1), second.size(), second.data());
                       return second;
                   }())) < rounding);
}

TEST_CASE("the encoder refuses pictures that do not fit", "[encoder]")
{
    const Setup setup(3);
    VisionInputs wrong = setup.images;
    wrong.aspect_ratio_ids[1] = 6;
    CHECK_THROWS_WITH(vision_encoder(setup.weights, setup.config, wrong, Rule::meta, {}),
                      ContainsSubstring("aspect_ratio_ids") && ContainsSubstring("6") &&
                          ContainsSubstring("0 to 5"));
    wrong.aspect_ratio_ids[1] = -1;
    CHECK_THROWS_WITH(vision_encoder(setup.weights, setup.config, wrong, Rule::meta, {}),
                      ContainsSubstring("-1"));
    wrong = setup.images;
    wrong.aspect_ratio_mask.pop_back();
    CHECK_THROWS_WITH(vision_encoder(setup.weights, setup.config, wrong, Rule::meta, {}),
                      ContainsSubstring("aspect_ratio_mask") && ContainsSubstring("8"));
    wrong = setup.images;
    wrong.aspect_ratio_ids.pop_back();
    CHECK_THROWS_WITH(vision_encoder(setup.weights, setup.config, wrong, Rule::meta, {}),
                      ContainsSubstring("pixel_values"));
}

TEST_CASE("TRAP kept_states_off_by_one: Meta keeps a layer's input, transformers its output", "[trap]")
{
    const Setup setup(4);
    setup.check_avoids(&VisionMistakes::other_rule_for_kept);
    setup.check_avoids(&VisionMistakes::kept_final_repeated);

    // Layers 0 and 2 are kept; the final state is the same under both rules.
    for (Rule rule : {Rule::meta, Rule::transformers}) {
        Tensor states;
        const RecordedRun run =
            record_step([&](const Recorder& record) { states = setup.encode(rule, record); });
        const Tensor layer = run.tensor(rule == Rule::meta ? "transformer.layers.1"
                                                           : "transformer.layers.2");  // 8 rows a tile
        Rows wanted;
        const Rows all = rows_of(layer);
        for (std::size_t row = 0; row < all.size(); ++row)
            if (row % 8 < 5)
                wanted.push_back(all[row]);
        CHECK(columns(rows_of(states), 11, 10, 2) == wanted);
    }
    CHECK(columns(rows_of(setup.encode(Rule::meta)), 0, 10, 1) ==
          columns(rows_of(setup.encode(Rule::transformers)), 0, 10, 1));
}

TEST_CASE("TRAP interleaved_concat: kept states alternate within a channel", "[trap]")
{
    Setup(5).check_avoids(&VisionMistakes::kept_one_after_another);
}

TEST_CASE("TRAP gate_without_tanh: gates of the vision side are opened by tanh", "[trap]")
{
    const Setup setup(6);
    setup.check_avoids(&VisionMistakes::gate_without_tanh);
    // The global layers alone, whose gates are numbers on their own.
    Setup changed(6);
    for (VisionLayerWeights& layer : changed.weights.global_layers)
        layer.gate_attn = layer.gate_ffn = 100.0f;  // tanh 1: full strength, not a hundredfold
    CHECK(distance(changed.encode(Rule::meta), changed.in_double(Rule::meta)) < rounding);
}

TEST_CASE("TRAP padding_masks_padding_only: in the whole encoder", "[trap]")
{
    const Setup setup(7);
    setup.check_avoids(&VisionMistakes::padding_hidden_from_all);
    setup.check_avoids(&VisionMistakes::no_mask);
}

TEST_CASE("TRAP one_minus_tanh: in the whole encoder", "[trap]")
{
    Setup(8).check_avoids(&VisionMistakes::whole_positions);
}

TEST_CASE("TRAP aspect_id_0: ids count from 1 in all three tables", "[trap]")
{
    Setup setup(9);
    setup.check_avoids(&VisionMistakes::id_counts_from_zero);
    setup.images.aspect_ratio_ids = {0, 5, 0};  // 0 is no error: its rows are used
    CHECK(distance(setup.encode(Rule::meta), setup.in_double(Rule::meta)) < rounding);
}
