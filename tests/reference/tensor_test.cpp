#include "reference/math/tensor.h"

#include <numeric>
#include <stdexcept>

#include "tests/catch.h"

using namespace pictor;

TEST_CASE("a tensor is zeros in row-major order", "[tensor]")
{
    Tensor tensor({2, 3, 4, 5});
    REQUIRE(tensor.size() == 120);
    CHECK(tensor.extent(2) == 4);
    for (float value : tensor.values)
        CHECK(value == 0.0f);

    std::iota(tensor.values.begin(), tensor.values.end(), 0.0f);
    CHECK(tensor(1, 2, 3, 4) == 119.0f);
    CHECK(tensor(0, 1, 0, 2) == 22.0f);
    CHECK(*tensor.row(1) == 60.0f);
    CHECK(*tensor.row(1, 2) == 100.0f);
    // Fewer indices than axes: the first number there.
    CHECK(tensor(1) == 60.0f);
    CHECK(tensor(1, 2) == 100.0f);
    CHECK(tensor(1, 2, 1) == 105.0f);

    tensor(1, 2, 3, 4) = -1.0f;
    CHECK(tensor.values.back() == -1.0f);
    const Tensor& constant = tensor;
    CHECK(constant.row(1, 2)[19] == -1.0f);
}

TEST_CASE("a tensor may be empty in two ways", "[tensor]")
{
    CHECK(Tensor().empty());
    const Tensor no_rows({0, 7});
    CHECK(no_rows.empty());
    CHECK(no_rows.extent(1) == 7);
}

TEST_CASE("absurd shapes are refused before memory is asked for", "[tensor]")
{
    CHECK_THROWS_WITH(Tensor({3, -1}), ContainsSubstring("[3, -1]"));
    CHECK_THROWS_AS(Tensor({std::int64_t{1} << 40}), std::runtime_error);
    // The product would wrap around to a small number.
    CHECK_THROWS_WITH(Tensor({std::int64_t{1} << 32, std::int64_t{1} << 32, 4}),
                      ContainsSubstring("4294967296"));
}

TEST_CASE("require_shape says who asked, what was wanted and what came", "[tensor]")
{
    const Tensor tensor({2, 3});
    CHECK_NOTHROW(require_shape("test", tensor, {2, 3}));
    CHECK_NOTHROW(require_shape("test", tensor, {-1, 3}));
    CHECK_THROWS_WITH(require_shape("some step", tensor, {-1, 4}), ContainsSubstring("some step") &&
                                                                       ContainsSubstring("[-1, 4]") &&
                                                                       ContainsSubstring("[2, 3]"));
    CHECK_THROWS_AS(require_shape("test", tensor, {2, 3, 1}), std::runtime_error);
    CHECK_THROWS_AS(require_shape("test", tensor, {6}), std::runtime_error);
}

TEST_CASE("a view shows the same numbers under another shape of the same size", "[tensor]")
{
    const Tensor tensor({4, 6});
    CHECK(tensor.view().shape == Shape{4, 6});
    const TensorView view = tensor.view({4, 2, 3});
    CHECK(view.shape == Shape{4, 2, 3});
    CHECK(view.values == tensor.data());
    CHECK_THROWS_WITH(tensor.view({4, 5}), ContainsSubstring("[4, 5]") && ContainsSubstring("[4, 6]"));
}
