#include "reference/math/softmax.h"

#include <bit>
#include <cmath>
#include <limits>

#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using pictor_test::RandomWeights;

namespace {

using Softmax = void (*)(const float*, std::int64_t, float*);

std::vector<float> take(Softmax softmax, const std::vector<float>& scores)
{
    std::vector<float> probs(scores.size() + 1, 42.0f);
    softmax(scores.data(), std::ssize(scores), probs.data());
    CHECK(probs.back() == 42.0f);  // nothing is written after the row
    probs.pop_back();
    return probs;
}

}  // namespace

TEST_CASE("softmax agrees with double for rows of 1 to 70", "[softmax]")
{
    const Softmax softmax = GENERATE(values<Softmax>({softmax_plain, softmax_fast}));
    RandomWeights random(1);
    for (std::int64_t count = 1; count <= 70; ++count) {
        const Tensor scores = random.tensor({count}, 8.0f);
        const std::vector<float> probs = take(softmax, scores.values);
        double sum = 0, total = 0;
        for (float score : scores.values)
            sum += std::exp(static_cast<double>(score));
        for (std::int64_t i = 0; i < count; ++i) {
            INFO("count " << count << " at " << i);
            CHECK(at(probs, i) == Approx(std::exp(static_cast<double>(scores(i))) / sum).epsilon(1e-6));
            total += at(probs, i);
        }
        CHECK(total == Approx(1.0).epsilon(1e-6));
    }
}

// Measured: 8.1e-6, in a row of 25,616 keys (four images), where the plain loop's one sum loses most.
TEST_CASE("the fast softmax is the plain one but for rounding", "[softmax]")
{
    RandomWeights random(3);
    double worst = 0, worst_short = 0;
    for (std::int64_t count : {1, 15, 16, 17, 70, 1601, 6404, 25616}) {
        for (float spread : {0.1f, 3.0f, 20.0f}) {
            const Tensor scores = random.tensor({count}, spread);
            const std::vector<float> plain = take(softmax_plain, scores.values);
            const std::vector<float> fast = take(softmax_fast, scores.values);
            for (std::int64_t i = 0; i < count; ++i)
                if (at(plain, i) > 1e-37f)  // below, exp_fast gives 0
                    worst = std::max(worst, std::fabs(at(fast, i) / static_cast<double>(at(plain, i)) - 1));
            if (count <= 70)
                worst_short = worst;
        }
    }
    INFO("worst relative difference " << worst << ", in short rows " << worst_short);
    CHECK(worst < 2e-5);
    CHECK(worst_short < 1e-6);
    CHECK(worst > 1e-8);  // they are two computations, not one
}

TEST_CASE("a masked score becomes exactly zero", "[softmax]")
{
    const Softmax softmax = GENERATE(values<Softmax>({softmax_plain, softmax_fast}));
    const float lowest = std::numeric_limits<float>::lowest();
    for (std::size_t count : {2, 16, 17, 40}) {
        for (std::size_t seen = 0; seen < count; ++seen) {
            std::vector<float> scores(count, lowest);
            scores[seen] = -3.0f;
            const std::vector<float> probs = take(softmax, scores);
            for (std::size_t i = 0; i < count; ++i)
                REQUIRE(probs[i] == (i == seen ? 1.0f : 0.0f));
        }
    }
}

TEST_CASE("softmax of equal, huge and lonely scores", "[softmax]")
{
    const Softmax softmax = GENERATE(values<Softmax>({softmax_plain, softmax_fast}));
    for (float score : {0.0f, 3e38f, -3e38f, std::numeric_limits<float>::lowest()}) {
        for (float prob : take(softmax, std::vector<float>(33, score)))
            CHECK(prob == Approx(1.0 / 33).epsilon(1e-6));
        CHECK(take(softmax, {score}) == std::vector<float>{1.0f});
    }
    CHECK(take(softmax, {3e38f, 2e38f}) == std::vector<float>{1.0f, 0.0f});
    CHECK(take(softmax, {1e30f, -1e30f, 1e30f}) == std::vector<float>{0.5f, 0.0f, 0.5f});
}

TEST_CASE("softmax may write over its scores", "[softmax]")
{
    const Softmax softmax = GENERATE(values<Softmax>({softmax_plain, softmax_fast}));
    std::vector<float> row = RandomWeights(2).tensor({37}).values;
    const std::vector<float> probs = take(softmax, row);
    softmax(row.data(), 37, row.data());
    CHECK(row == probs);
}

TEST_CASE("NaN among the scores is not hidden by softmax", "[softmax]")
{
    const Softmax softmax = GENERATE(values<Softmax>({softmax_plain, softmax_fast}));
    for (std::size_t place : {0, 5, 20}) {
        std::vector<float> scores(21, 1.0f);
        scores[place] = std::numeric_limits<float>::quiet_NaN();
        for (float prob : take(softmax, scores))
            CHECK(std::isnan(prob));
    }
}

TEST_CASE("exp_fast is within 2 units in the last place", "[softmax]")
{
    double worst = 0;
    const auto check = [&](float x) {
        const double exact = std::exp(static_cast<double>(x));
        const float nearest = static_cast<float>(exact);
        const double unit = static_cast<double>(std::nextafter(nearest, HUGE_VALF)) - nearest;
        const double error = std::fabs(exp_fast(x) - exact) / unit;
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

TEST_CASE("exp_fast at its ends", "[softmax]")
{
    CHECK(exp_fast(0.0f) == 1.0f);
    CHECK(exp_fast(-87.34f) == 0.0f);
    CHECK(exp_fast(std::numeric_limits<float>::lowest()) == 0.0f);
    CHECK(exp_fast(-HUGE_VALF) == 0.0f);
    CHECK(std::isfinite(exp_fast(88.72f)));
    CHECK(exp_fast(88.73f) == HUGE_VALF);
    CHECK(exp_fast(HUGE_VALF) == HUGE_VALF);
    CHECK(std::isnan(exp_fast(std::numeric_limits<float>::quiet_NaN())));
}
