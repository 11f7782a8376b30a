#include "reference/text/rms_norm.h"

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("rms_norm agrees with double, row by row", "[rms_norm]")
{
    RandomWeights random(1);
    for (std::int64_t d : {1, 3, 16, 67}) {
        const Tensor x = random.tensor({2, 5, d}, 3.0f, 1.0f), weight = random.tensor({d}, 1.0f, 0.3f);
        const Tensor normalised = rms_norm(x, weight, 1e-5f);
        CHECK(normalised.shape == x.shape);
        CHECK(distance(normalised, rms_norm_in_double(rows_of(x), weight, 1e-5)) < rounding);
    }
}

TEST_CASE("rms_norm subtracts no mean", "[rms_norm]")
{
    Tensor ones({1, 4});
    ones.values = {2.0f, 2.0f, 2.0f, 2.0f};  // a norm that subtracted the mean would leave zeros
    Tensor weight({4});
    weight.values = {1.0f, 2.0f, 3.0f, -1.0f};
    const Tensor normalised = rms_norm(ones, weight, 0.0f);
    for (std::int64_t channel = 0; channel < 4; ++channel)
        CHECK(normalised(0, channel) == Approx(weight(channel)));
}

TEST_CASE("epsilon counts beside the mean square, not the root", "[rms_norm]")
{
    Tensor x({1, 2}), weight({2});
    x.values = {3e-3f, 4e-3f};  // mean square 1.25e-5
    weight.values = {1.0f, 1.0f};
    CHECK(rms_norm(x, weight, 1e-5f)(0, 0) == Approx(3e-3 / std::sqrt(2.25e-5)));
    CHECK(rms_norm(Tensor({1, 2}), weight, 1e-5f).values == std::vector<float>{0.0f, 0.0f});
}

TEST_CASE("rms_norm refuses a weight of another length", "[rms_norm]")
{
    CHECK_THROWS_WITH(rms_norm(Tensor({2, 6}), Tensor({3}), 1e-5f),
                      ContainsSubstring("rms_norm") && ContainsSubstring("[6]") && ContainsSubstring("[3]"));
}
