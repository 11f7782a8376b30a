#include "reference/math/dot.h"

#include <cmath>

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using pictor_test::RandomWeights;

TEST_CASE("dot, plain and fast, agrees with double at lengths around the vector widths", "[dot]")
{
    RandomWeights random(7);
    // Each sum's error in shares of the sum of sizes.
    double worst_plain = 0, worst_fast = 0;
    for (std::int64_t count : {0, 1, 2, 15, 16, 63, 64, 65, 127, 128, 129, 1000}) {
        const Tensor a = random.tensor({count}), b = random.tensor({count});
        double sum = 0, size = 1e-30;
        for (std::int64_t i = 0; i < count; ++i) {
            sum += static_cast<double>(a(i)) * b(i);
            size += std::fabs(static_cast<double>(a(i)) * b(i));
        }
        worst_plain = std::max(worst_plain, std::fabs(dot_plain(a.data(), b.data(), count) - sum) / size);
        worst_fast = std::max(worst_fast, std::fabs(dot_fast(a.data(), b.data(), count) - sum) / size);
        const float chosen =
            use_plain_loops ? dot_plain(a.data(), b.data(), count) : dot_fast(a.data(), b.data(), count);
        CHECK(dot(a.data(), b.data(), count) == chosen);
    }
    INFO("plain " << worst_plain << ", fast " << worst_fast);
    CHECK(worst_plain < 1e-6);
    CHECK(worst_fast < 2e-7);
    CHECK(worst_plain > worst_fast);  // many short sums lose less than one long one
}

TEST_CASE("add_scaled at lengths around the vector widths", "[dot]")
{
    RandomWeights random(8);
    for (std::int64_t count : {0, 1, 2, 15, 16, 63, 64, 65, 127, 128, 129, 1000}) {
        const Tensor a = random.tensor({count}), b = random.tensor({count});
        Tensor to = b;
        to.values.push_back(5.0f);  // must stay
        add_scaled(-0.75f, a.data(), count, to.data());
        INFO("count " << count);
        for (std::int64_t i = 0; i < count; ++i)
            CHECK(to.data()[i] == Approx(b(i) - 0.75 * a(i)).margin(1e-6));
        CHECK(to.values.back() == 5.0f);
    }
}
