#include "reference/text/rope.h"

#include <cmath>

#include "tests/catch.h"
#include "tests/reference/text_in_double.h"

using namespace pictor;
using namespace pictor_test;

namespace {

RopeConfig real_model()
{
    RopeConfig config;
    config.scaled = true;
    return config;
}

// Cosine of the angle between two vectors.
double likeness(const Row& a, const Row& b)
{
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("frequencies without and with scaling agree with double", "[rope]")
{
    for (bool scaled : {false, true}) {
        RopeConfig config = real_model();
        config.scaled = scaled;
        for (std::int64_t d_head : {2, 6, 8, 64, 128}) {
            const std::vector<float> found = rope_frequencies(config, d_head);
            const Row wanted = frequencies_in_double(config, d_head, scaled);
            REQUIRE(found.size() == wanted.size());
            for (std::size_t pair = 0; pair < found.size(); ++pair) {
                INFO("d_head " << d_head << " pair " << pair);
                CHECK(found[pair] ==
                      Approx(wanted[pair]).epsilon(1e-6));  // float32 as in the references, not more exact
            }
        }
    }
}

TEST_CASE("at the real model's sizes all three kinds of pair occur", "[rope]")
{
    const std::vector<float> scaled = rope_frequencies(real_model(), 128);
    RopeConfig config = real_model();
    config.scaled = false;
    const std::vector<float> plain = rope_frequencies(config, 128);
    int left_alone = 0, slowed = 0, blended = 0;
    for (std::size_t pair = 0; pair < plain.size(); ++pair) {
        const float ratio = plain[pair] / scaled[pair];
        (ratio == 1.0f ? left_alone : std::fabs(ratio - 8.0f) < 1e-5f ? slowed : blended)++;
    }
    CHECK(left_alone == 29);
    CHECK(blended == 6);
    CHECK(slowed == 29);
}

TEST_CASE("angles start at the first position", "[rope]")
{
    const RopeAngles whole = rope_angles(real_model(), 8, 0, 12), later = rope_angles(real_model(), 8, 7, 5);
    REQUIRE(later.cos.shape == Shape{5, 8});
    for (std::int64_t token = 0; token < 5; ++token)
        for (std::int64_t channel = 0; channel < 8; ++channel) {
            CHECK(later.cos(token, channel) == whole.cos(token + 7, channel));
            CHECK(later.sin(token, channel) == whole.sin(token + 7, channel));
            CHECK(later.sin(token, channel) == later.sin(token, (channel + 4) % 8));
        }
    for (std::int64_t channel = 0; channel < 8; ++channel) {
        CHECK(whole.cos(0, channel) == 1.0f);
        CHECK(whole.sin(0, channel) == 0.0f);
    }
}

TEST_CASE("rotation keeps lengths, and scores depend on distance alone", "[rope]")
{
    RandomWeights random(1);
    const Tensor pair = random.tensor({1, 1, 6});
    RopeConfig config;
    const auto score = [&](std::int64_t here, std::int64_t there) {
        const Rows a = rows_of(rotate(pair, rope_angles(config, 6, here, 1))),
                   b = rows_of(rotate(pair, rope_angles(config, 6, there, 1)));
        double sum = 0;
        for (std::size_t i = 0; i < 6; ++i)
            sum += a[0][i] * b[0][i];
        return sum;
    };
    CHECK(score(9, 9) == Approx(score(0, 0)).epsilon(1e-5));
    CHECK(score(9, 4) == Approx(score(5, 0)).epsilon(1e-5));
    CHECK(std::fabs(score(9, 4) - score(9, 3)) > 0.01);
}

TEST_CASE("rotate refuses rows that are not the tokens of the angles", "[rope]")
{
    CHECK_THROWS_WITH(rotate(Tensor({3, 1, 8}), rope_angles(real_model(), 8, 0, 4)),
                      ContainsSubstring("rotate"));
}

TEST_CASE("TRAP rope_pairs_halves: channel i turns with channel i + d_head / 2, in every head", "[trap]")
{
    RandomWeights random(2);
    const Tensor x = random.tensor({9, 3 * 8});
    const RopeConfig config = real_model();
    const Row frequencies = frequencies_in_double(config, 8, true);
    const Rows right = rotate_in_double(rows_of(x), frequencies, 5),
               neighbours = rotate_in_double(rows_of(x), frequencies, 5, true);
    CHECK(distance(neighbours, right) > plainly_visible);
    const Tensor rotated = rotate(reshaped(x, {9, 3, 8}), rope_angles(config, 8, 5, 9));
    CHECK(distance(reshaped(rotated, x.shape), right) < rounding);
}

TEST_CASE("TRAP llama3_rope_scaling: without it position 0 is right and 8192 is not", "[trap]")
{
    RandomWeights random(3);
    const std::int64_t d_head = 128;
    const Tensor x = random.tensor({1, 1, d_head});
    const RopeConfig config = real_model();
    const Row right = frequencies_in_double(config, d_head, true),
              unscaled = frequencies_in_double(config, d_head, false);

    // The trap: nothing shows at the beginning.
    CHECK(distance(rotate_in_double(rows_of(x), unscaled, 0), rotate_in_double(rows_of(x), right, 0)) <
          rounding);
    const Row drifted = rotate_in_double(rows_of(x), unscaled, 8192)[0],
              wanted = rotate_in_double(rows_of(x), right, 8192)[0];
    CHECK(likeness(drifted, wanted) < 0.9);

    // Ours. Angles are rounded to float32 as in both references, so that far out they are off by half a unit
    // of position times frequency: 8192 has 2^-11 there, and 131071 has 2^-8.
    for (const auto& [position, tolerance] : std::vector<std::pair<std::int64_t, double>>{
             {0, rounding}, {100, 1e-4}, {8192, 4e-3}, {131071, 6e-2}}) {
        INFO("position " << position);
        const Tensor ours = rotate(x, rope_angles(config, d_head, position, 1));
        CHECK(distance(ours, rotate_in_double(rows_of(x), right, static_cast<double>(position))) < tolerance);
    }
    CHECK(likeness(rows_of(rotate(x, rope_angles(config, d_head, 8192, 1)))[0], wanted) > 0.99999);
}
