#include "reference/vision/projector.h"

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("the projector is one linear layer with a bias", "[projector]")
{
    RandomWeights random(1);
    const ProjectorWeights weights{random.matrix(20, 30), random.tensor({20})};
    const Tensor states = random.tensor({2, 3, 5, 30});
    const Tensor projected = multi_modal_projector(weights, states);
    CHECK(projected.shape == Shape{2, 3, 5, 20});
    const Rows right = linear_in_double(rows_of(states), weights.weight, weights.bias);
    CHECK(distance(linear_in_double(rows_of(states), weights.weight), right) > plainly_visible);
    CHECK(distance(projected, right) < rounding);
    CHECK_THROWS_AS(multi_modal_projector(weights, Tensor({1, 3, 5, 31})), std::runtime_error);
}
