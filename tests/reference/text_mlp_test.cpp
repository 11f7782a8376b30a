#include "reference/text/mlp.h"

#include "tests/catch.h"
#include "tests/reference/text_in_double.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("the text MLP is down(silu(gate) * up), not the other way round", "[text_mlp]")
{
    RandomWeights random(1);
    const TextConfig config = small_text_config();
    const TextMlpWeights weights = random_text_mlp(random, config);
    const Tensor hidden = random.tensor({7, config.d_model}, 2.0f);
    const Rows right = text_mlp_in_double(weights, rows_of(hidden));
    const TextMlpWeights swapped{weights.up_proj, weights.gate_proj, weights.down_proj};
    CHECK(distance(text_mlp_in_double(swapped, rows_of(hidden)), right) > plainly_visible);
    const Tensor output = text_mlp(weights, hidden, {});
    CHECK(output.shape == hidden.shape);
    CHECK(distance(output, right) < rounding);
}
