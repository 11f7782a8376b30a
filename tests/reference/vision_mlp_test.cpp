#include "reference/vision/mlp.h"

#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("the vision MLP agrees with double, biases included", "[vision_mlp]")
{
    RandomWeights random(1);
    const VisionConfig config = small_vision_config();
    const VisionLayerWeights layer = random_vision_layer(random, config, false);
    const Tensor hidden = random.tensor({1, 3, 8, config.d_model}, 2.0f);
    const Tensor output = vision_mlp(layer, hidden, {});
    CHECK(output.shape == hidden.shape);
    const Rows right = vision_mlp_in_double(layer, rows_of(hidden));
    CHECK(distance(output, right) < rounding);
    VisionLayerWeights without = layer;
    without.fc1_bias = without.fc2_bias = Tensor();
    CHECK(distance(vision_mlp_in_double(without, rows_of(hidden)), right) > plainly_visible);
}

TEST_CASE("TRAP exact_gelu: the activation is erf's, not tanh's", "[trap]")
{
    RandomWeights random(2);
    const VisionConfig config = small_vision_config();
    const VisionLayerWeights layer = random_vision_layer(random, config, false);
    const Tensor hidden = random.tensor({1, 3, 8, config.d_model}, 2.0f);
    const Rows right = vision_mlp_in_double(layer, rows_of(hidden));
    VisionMistakes mistakes;
    mistakes.tanh_gelu = true;
    // The two forms differ by up to 5e-4: little, but a hundred times what rounding does.
    const double mistaken = distance(vision_mlp_in_double(layer, rows_of(hidden), mistakes), right);
    CHECK(mistaken > 3e-4);
    CHECK(distance(vision_mlp(layer, hidden, {}), right) < mistaken / 100);
}
