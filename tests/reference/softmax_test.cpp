#include "reference/math/softmax.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "tests/catch.h"
#include "tests/reference/vision_in_double.h"

using namespace pictor;
using pictor_test::gelu_by_tanh;
using pictor_test::gelu_in_double;
using pictor_test::RandomWeights;
using pictor_test::silu_in_double;

namespace {

std::vector<float> soften(const std::vector<float>& scores)
{
    std::vector<float> probs(scores.size() + 1, 42.0f);
    softmax_row(scores.data(), static_cast<std::int64_t>(scores.size()), probs.data());
    CHECK(probs.back() == 42.0f);  // nothing is written behind the row
    probs.pop_back();
    return probs;
}

}  // namespace

TEST_CASE("softmax agrees with double for rows of 1 to 70", "[softmax]")
{
    RandomWeights random(1);
    for (std::size_t count = 1; count <= 70; ++count) {
        const std::vector<float> scores = random.tensor({static_cast<std::int64_t>(count)}, 8.0f).values;
        const std::vector<float> probs = soften(scores);
        double sum = 0, total = 0;
        for (float score : scores)
            sum += std::exp(static_cast<double>(score));
        for (std::size_t i = 0; i < count; ++i) {
            INFO("count " << count << " at " << i);
            CHECK(probs[i] == Approx(std::exp(static_cast<double>(scores[i])) / sum).epsilon(1e-6));
            total += probs[i];
        }
        CHECK(total == Approx(1.0).epsilon(1e-6));
    }
}

TEST_CASE("a masked score becomes exactly zero", "[softmax]")
{
    const float lowest = std::numeric_limits<float>::lowest();
    for (std::size_t count : {2, 16, 17, 40}) {
        for (std::size_t seen = 0; seen < count; ++seen) {
            std::vector<float> scores(count, lowest);
            scores[seen] = -3.0f;
            const std::vector<float> probs = soften(scores);
            for (std::size_t i = 0; i < count; ++i)
                REQUIRE(probs[i] == (i == seen ? 1.0f : 0.0f));
        }
    }
}

TEST_CASE("softmax of equal, huge and lonely scores", "[softmax]")
{
    for (float score : {0.0f, 3e38f, -3e38f, std::numeric_limits<float>::lowest()}) {
        for (float prob : soften(std::vector<float>(33, score)))
            CHECK(prob == Approx(1.0 / 33).epsilon(1e-6));
        CHECK(soften({score}) == std::vector<float>{1.0f});
    }
    CHECK(soften({3e38f, 2e38f}) == std::vector<float>{1.0f, 0.0f});
    CHECK(soften({1e30f, -1e30f, 1e30f}) == std::vector<float>{0.5f, 0.0f, 0.5f});
}

TEST_CASE("softmax may write over its scores", "[softmax]")
{
    std::vector<float> row = RandomWeights(2).tensor({37}).values;
    const std::vector<float> probs = soften(row);
    softmax_row(row.data(), 37, row.data());
    CHECK(row == probs);
}

TEST_CASE("NaN among the scores is not hidden by softmax", "[softmax]")
{
    for (std::size_t place : {0, 5, 20}) {
        std::vector<float> scores(21, 1.0f);
        scores[place] = std::numeric_limits<float>::quiet_NaN();
        for (float prob : soften(scores))
            CHECK(std::isnan(prob));
    }
}

TEST_CASE("exp_float is within 2 units in the last place", "[softmax]")
{
    double worst = 0;
    const auto check = [&](float x) {
        const double exact = std::exp(static_cast<double>(x));
        const float nearest = static_cast<float>(exact);
        const double unit = static_cast<double>(std::nextafter(nearest, HUGE_VALF)) - nearest;
        const double error = std::fabs(exp_float(x) - exact) / unit;
        if (!(error <= worst))
            worst = error;
    };
    for (double x = -87.329; x < 88.719; x += 0.00037)
        check(static_cast<float>(x));
    for (std::uint32_t bits = 0x30000000u; bits < 0x42b00000u;
         bits += 1021) {  // 5e-10 to 88, every size of number
        check(std::bit_cast<float>(bits));
        check(-std::bit_cast<float>(bits > 0x42ae0000u ? 0x42ae0000u : bits));
    }
    CHECK(worst <= 2);
    CHECK(worst > 0.4);  // the check sees something: no exp is exact everywhere
}

TEST_CASE("exp_float at its ends", "[softmax]")
{
    CHECK(exp_float(0.0f) == 1.0f);
    CHECK(exp_float(-87.34f) == 0.0f);
    CHECK(exp_float(std::numeric_limits<float>::lowest()) == 0.0f);
    CHECK(exp_float(-HUGE_VALF) == 0.0f);
    CHECK(std::isfinite(exp_float(88.72f)));
    CHECK(exp_float(88.73f) == HUGE_VALF);
    CHECK(exp_float(HUGE_VALF) == HUGE_VALF);
    CHECK(std::isnan(exp_float(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("silu agrees with double, far out too", "[softmax]")
{
    for (double x = -30; x <= 30; x += 0.0113)
        REQUIRE(silu(static_cast<float>(x)) ==
                Approx(silu_in_double(static_cast<float>(x))).epsilon(1e-6).margin(1e-12));
    CHECK(silu(-1000.0f) == 0.0f);
    CHECK(silu(1000.0f) == 1000.0f);
}

TEST_CASE("gelu is the exact one", "[softmax]")
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
