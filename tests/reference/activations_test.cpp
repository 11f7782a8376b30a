#include "reference/math/activations.h"

#include <cmath>

#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"

using namespace pictor;
using pictor_test::gelu_by_tanh;
using pictor_test::gelu_in_double;
using pictor_test::silu_in_double;

TEST_CASE("silu agrees with double, far out too", "[activations]")
{
    for (double x = -30; x <= 30; x += 0.0113)
        REQUIRE(silu(static_cast<float>(x)) ==
                Approx(silu_in_double(static_cast<float>(x))).epsilon(1e-6).margin(1e-12));
    CHECK(silu(-1000.0f) == 0.0f);
    CHECK(silu(1000.0f) == 1000.0f);
}

TEST_CASE("gelu is the exact one", "[activations]")
{
    double worst = 0, tanh_worst = 0;
    for (double x = -8; x <= 8; x += 0.0023) {
        const float rounded = static_cast<float>(x);
        worst = std::max(worst, std::fabs(gelu(rounded) - gelu_in_double(rounded)));
        tanh_worst = std::max(tanh_worst, std::fabs(gelu_by_tanh(rounded) - gelu_in_double(rounded)));
    }
    CHECK(worst < 1e-6);
    CHECK(tanh_worst > 4e-4);
    CHECK(gelu(-1000.0f) == 0.0f);
    CHECK(gelu(1000.0f) == 1000.0f);
    CHECK(std::signbit(gelu(-0.0f)));
}
