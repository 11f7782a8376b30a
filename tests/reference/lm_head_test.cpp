#include "reference/text/lm_head.h"

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("every token gets a score for every word", "[lm_head]")
{
    RandomWeights random(1);
    const Matrix weight = random.matrix(21, 12);
    const Tensor hidden = random.tensor({5, 12});
    const Tensor logits = lm_head(weight, hidden, {});
    CHECK(logits.shape == Shape{5, 21});
    CHECK(distance(logits, linear_in_double(rows_of(hidden), weight)) < rounding);
    CHECK_THROWS_AS(lm_head(weight, Tensor({5, 11}), {}), std::runtime_error);
}
