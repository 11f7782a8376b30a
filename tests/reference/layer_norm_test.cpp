#include "reference/vision/layer_norm.h"

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using namespace pictor_test;

TEST_CASE("layer_norm agrees with double, row by row", "[layer_norm]")
{
    RandomWeights random(1);
    for (std::int64_t d : {2, 3, 16, 67}) {
        const Tensor x = random.tensor({2, 3, 2, d}, 3.0f, 1.0f);
        const LayerNormWeights weights = random.layer_norm(d);
        const Tensor normalised = layer_norm(x, weights, 1e-5f);
        CHECK(normalised.shape == x.shape);
        CHECK(distance(normalised, layer_norm_in_double(rows_of(x), weights, 1e-5)) < rounding);
    }
}

TEST_CASE("layer_norm takes enough rows for several threads", "[layer_norm]")
{
    RandomWeights random(2);
    const Tensor x = random.tensor({4100, 64});
    const LayerNormWeights weights = random.layer_norm(64);
    CHECK(distance(layer_norm(x, weights, 1e-5f), layer_norm_in_double(rows_of(x), weights, 1e-5)) <
          rounding);
}

TEST_CASE("a row of equal numbers becomes the bias", "[layer_norm]")
{
    RandomWeights random(3);
    const LayerNormWeights weights = random.layer_norm(8);
    Tensor x({1, 8});
    x.values.assign(8, 5.0f);
    CHECK(layer_norm(x, weights, 1e-5f).values == weights.bias.values);
    CHECK(layer_norm(Tensor({1, 8}), weights, 1e-5f).values ==
          weights.bias.values);  // rows of padding in the encoder
}

TEST_CASE("the variance is that of the whole row, and survives a large mean", "[layer_norm]")
{
    LayerNormWeights plain{Tensor({2}), Tensor({2})};
    plain.weight.values = {1.0f, 1.0f};
    Tensor x({1, 2});
    x.values = {1.0f, 3.0f};  // variance 1, not 2 as an unbiased estimate has it
    CHECK(layer_norm(x, plain, 0.0f)(0, 1) == Approx(1.0));
    x.values = {4000.0f, 4002.0f};
    CHECK(layer_norm(x, plain, 0.0f)(0, 0) == Approx(-1.0));
}

TEST_CASE("layer_norm refuses weights of another length", "[layer_norm]")
{
    RandomWeights random(4);
    LayerNormWeights weights = random.layer_norm(6);
    CHECK_THROWS_WITH(layer_norm(Tensor({2, 5}), weights, 1e-5f), ContainsSubstring("layer_norm weight"));
    weights.bias = Tensor({5});
    CHECK_THROWS_WITH(layer_norm(Tensor({2, 6}), weights, 1e-5f), ContainsSubstring("layer_norm bias"));
}
