#include "reference/vision/patch_embedding.h"

#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("patches agree with double, colour, y, x inside a patch", "[patch_embedding]")
{
    RandomWeights random(1);
    const VisionConfig config = small_vision_config();
    const VisionWeights weights = random_vision_weights(random, config);
    const Tensor pixels = random.tensor({2, 3, 3, 6, 6}, 2.0f);
    const Tensor states = patch_embedding(weights, config, pixels);
    REQUIRE(states.shape == Shape{2, 3, 4, config.d_model});
    for (std::int64_t image = 0; image < 2; ++image)
        for (std::int64_t tile = 0; tile < 3; ++tile) {
            Tensor found({4, config.d_model});
            std::copy_n(states.row(image, tile), found.size(), found.data());
            CHECK(distance(found, patch_embedding_in_double(weights.patch_embedding, config,
                                                            pixels.row(image, tile))) < rounding);
        }
}

TEST_CASE("one pixel changes one patch: patches run row by row", "[patch_embedding]")
{
    RandomWeights random(2);
    const VisionConfig config = small_vision_config();
    const VisionWeights weights = random_vision_weights(random, config);
    for (std::int64_t y = 0; y < 6; ++y) {
        for (std::int64_t x = 0; x < 6; ++x) {
            Tensor pixels({1, 3, 3, 6, 6});
            pixels.row(0, 1)[(2 * 6 + y) * 6 + x] = 1.0f;
            const Tensor states = patch_embedding(weights, config, pixels);
            for (std::int64_t tile = 0; tile < 3; ++tile)
                for (std::int64_t patch = 0; patch < 4; ++patch) {
                    const float* state = states.row(0, tile) + patch * config.d_model;
                    const bool changed =
                        std::any_of(state, state + config.d_model, [](float value) { return value != 0; });
                    CHECK(changed == (tile == 1 && patch == y / 3 * 2 + x / 3));
                }
        }
    }
}

TEST_CASE("patch_embedding refuses pixels of another size", "[patch_embedding]")
{
    RandomWeights random(3);
    const VisionConfig config = small_vision_config();
    const VisionWeights weights = random_vision_weights(random, config);
    CHECK_THROWS_WITH(patch_embedding(weights, config, Tensor({1, 3, 3, 6, 7})),
                      ContainsSubstring("pixel_values") && ContainsSubstring("7"));
    CHECK_THROWS_AS(patch_embedding(weights, config, Tensor({1, 4, 3, 6, 6})), std::runtime_error);
}
