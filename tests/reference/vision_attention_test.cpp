#include "reference/vision/attention.h"

#include <limits>

#include "base/at.h"
#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

// Rows and padding of picture `image` alone.
Rows image_rows(const Tensor& states, std::int64_t image)
{
    const Rows all = rows_of(states);
    const std::ptrdiff_t n = states.extent(1) * states.extent(2);
    return Rows(all.begin() + image * n, all.begin() + (image + 1) * n);
}

struct Setup {
    RandomWeights random;
    VisionConfig config = small_vision_config();
    VisionLayerWeights weights;
    Tensor hidden;
    std::vector<std::uint8_t> padding;  // 5 patches of 8 rows; image 0 has two of three tiles, image 1 all

    explicit Setup(std::uint32_t seed, std::int64_t n_rows = 8)
        : random(seed), weights(random_vision_layer(random, config, false)),
          hidden(random.tensor({2, 3, n_rows, config.d_model}, 2.0f))
    {
        for (std::int64_t image = 0; image < 2; ++image)
            for (std::int64_t tile = 0; tile < 3; ++tile)
                for (std::int64_t row = 0; row < n_rows; ++row)
                    padding.push_back(row >= n_rows - 3 || (image == 0 && tile == 2) ? 1 : 0);
    }
    std::vector<std::uint8_t> padding_of(std::int64_t image) const
    {
        const std::ptrdiff_t n = static_cast<std::ptrdiff_t>(padding.size() / 2);
        return {padding.begin() + image * n, padding.begin() + (image + 1) * n};
    }
    Rows in_double(std::int64_t image, const VisionMistakes& mistakes = {}) const
    {
        return vision_attention_in_double(weights, config, image_rows(hidden, image), padding_of(image),
                                          mistakes);
    }
};

}  // namespace

TEST_CASE("vision attention agrees with double, picture by picture", "[vision_attention]")
{
    for (std::int64_t n_rows : {8, 40}) {  // 24 and 120 queries: less and more than a block of 48
        const Setup setup(1, n_rows);
        const Tensor output = vision_attention(setup.weights, setup.config, setup.hidden, setup.padding, {});
        CHECK(output.shape == setup.hidden.shape);
        for (std::int64_t image = 0; image < 2; ++image)
            CHECK(distance(image_rows(output, image), setup.in_double(image)) < rounding);
    }
}

TEST_CASE("pictures do not see each other, tiles of one picture do", "[vision_attention]")
{
    Setup setup(2);
    const Tensor before = vision_attention(setup.weights, setup.config, setup.hidden, setup.padding, {});
    setup.hidden(1, 2, 4, 3) += 4.0f;
    const Tensor after = vision_attention(setup.weights, setup.config, setup.hidden, setup.padding, {});
    CHECK(std::equal(before.row(0), before.row(1), after.row(0)));
    CHECK_FALSE(std::equal(before.row(1, 0), before.row(1, 0) + setup.config.d_model, after.row(1, 0)));
}

TEST_CASE("vision attention refuses a state of another width", "[vision_attention]")
{
    const Setup setup(3);
    CHECK_THROWS_WITH(vision_attention(setup.weights, setup.config, Tensor({1, 3, 8, 9}), setup.padding, {}),
                      ContainsSubstring("vision_attention"));
}

TEST_CASE("TRAP padding_masks_padding_only: patches look at padding and absent tiles, padding not at padding",
          "[trap]")
{
    const Setup setup(4);
    const Tensor output = vision_attention(setup.weights, setup.config, setup.hidden, setup.padding, {});
    for (std::int64_t image = 0; image < 2; ++image) {
        const Rows right = setup.in_double(image);
        VisionMistakes hidden_from_all, no_mask;
        hidden_from_all.padding_hidden_from_all = true;
        no_mask.no_mask = true;
        CHECK(distance(setup.in_double(image, hidden_from_all), right) > plainly_visible);
        CHECK(distance(setup.in_double(image, no_mask), right) > plainly_visible);
        CHECK(distance(image_rows(output, image), right) < rounding);
    }

    const RecordedRun run = record_step([&](const Recorder& record) {
        vision_attention(setup.weights, setup.config, setup.hidden, setup.padding, record);
    });
    const Tensor scores = run.tensor("scores"), masked = run.tensor("masked_scores"),
                 probs = run.tensor("probs");
    REQUIRE(probs.shape == Shape{2, 2, 24, 24});
    for (std::int64_t image = 0; image < 2; ++image)
        for (std::int64_t head = 0; head < 2; ++head)
            for (std::int64_t query = 0; query < 24; ++query)
                for (std::int64_t key = 0; key < 24; ++key) {
                    const std::size_t first = static_cast<std::size_t>(image * 24);
                    const bool both =
                        at(setup.padding, first + query) != 0 && at(setup.padding, first + key) != 0;
                    REQUIRE(masked(image, head, query, key) ==
                            (both ? std::numeric_limits<float>::lowest() : scores(image, head, query, key)));
                    REQUIRE((probs(image, head, query, key) == 0.0f) == both);
                }
}
