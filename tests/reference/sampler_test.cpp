#include "reference/text/sampler.h"

#include <array>
#include <cmath>
#include <set>
#include <vector>

#include "base/at.h"
#include "tests/catch.h"

using namespace pictor;

namespace {

const std::vector<float> logits{1.0f, 3.0f, -2.0f, 2.0f, 0.5f};  // order of likelihood: 1 3 0 4 2

std::int64_t draw(const SamplingOptions& options, RandomNumbers& random)
{
    return sample(logits.data(), static_cast<std::int64_t>(logits.size()), options, random);
}

std::vector<double> frequencies(const SamplingOptions& options, int n_draws)
{
    RandomNumbers random(options.seed);
    std::vector<double> share(logits.size());
    for (int i = 0; i < n_draws; ++i)
        at(share, draw(options, random)) += 1.0 / n_draws;
    return share;
}

SamplingOptions options_of(float temperature, float top_p, std::int64_t top_k, std::uint64_t seed)
{
    SamplingOptions options;
    options.temperature = temperature;
    options.top_p = top_p;
    options.top_k = top_k;
    options.seed = seed;
    return options;
}

// Softmax at a temperature over the given words only.
std::vector<double> probabilities(double temperature, const std::set<std::size_t>& among)
{
    std::vector<double> result(logits.size());
    double sum = 0;
    for (std::size_t id : among)
        sum += std::exp(logits[id] / temperature);
    for (std::size_t id : among)
        result[id] = std::exp(logits[id] / temperature) / sum;
    return result;
}

void check_frequencies(const SamplingOptions& options, const std::vector<double>& wanted)
{
    const int n_draws = 20000;
    const std::vector<double> found = frequencies(options, n_draws);
    for (std::size_t id = 0; id < wanted.size(); ++id) {
        INFO("id " << id);
        if (wanted[id] == 0)
            CHECK(found[id] == 0);
        else  // four standard deviations of the count
            CHECK(found[id] ==
                  Approx(wanted[id]).margin(4 * std::sqrt(wanted[id] * (1 - wanted[id]) / n_draws)));
    }
}

}  // namespace

TEST_CASE("greedy takes the highest logit, of equals the lowest id", "[sampler]")
{
    RandomNumbers random(1);
    const RandomNumbers untouched = random;
    CHECK(draw({}, random) == 1);
    const std::array<float, 5> ties{0.0f, 7.0f, -1.0f, 7.0f, 7.0f};
    CHECK(sample(ties.data(), 5, {}, random) == 1);
    const std::array<float, 3> negative{-5.0f, -3.0f, -4.0f};
    CHECK(sample(negative.data(), 3, {}, random) == 1);
    CHECK(sample(negative.data(), 1, {}, random) == 0);
    CHECK(random == untouched);  // no random number is used up
}

TEST_CASE("frequencies follow the softmax of logits by temperature", "[sampler]")
{
    for (float temperature : {0.5f, 1.0f, 2.0f})
        check_frequencies(options_of(temperature, 1.0f, 0, 11), probabilities(temperature, {0, 1, 2, 3, 4}));
}

TEST_CASE("a temperature near zero is nearly greedy and never NaN", "[sampler]")
{
    RandomNumbers random(3);
    for (int i = 0; i < 200; ++i)
        CHECK(draw(options_of(1e-6f, 1.0f, 0, 0), random) == 1);
}

TEST_CASE("top-k keeps the k likeliest words", "[sampler]")
{
    check_frequencies(options_of(1.0f, 1.0f, 1, 5), probabilities(1, {1}));
    check_frequencies(options_of(1.0f, 1.0f, 3, 6), probabilities(1, {0, 1, 3}));
    check_frequencies(options_of(1.0f, 1.0f, 100, 7), probabilities(1, {0, 1, 2, 3, 4}));
}

TEST_CASE("top-p keeps the smallest set that reaches p", "[sampler]")
{
    // Shares at temperature 1: 0.627, 0.231, 0.085, 0.051, 0.004.
    check_frequencies(options_of(1.0f, 0.0f, 0, 8), probabilities(1, {1}));
    check_frequencies(options_of(1.0f, 0.6f, 0, 8), probabilities(1, {1}));
    check_frequencies(options_of(1.0f, 0.7f, 0, 9), probabilities(1, {1, 3}));
    check_frequencies(options_of(1.0f, 0.9f, 0, 10), probabilities(1, {0, 1, 3}));
}

TEST_CASE("top-k comes before top-p, whose share is of what top-k left", "[sampler]")
{
    // Of words 1 and 3 alone the first has 0.731: enough for p = 0.7, which over all words it is not.
    check_frequencies(options_of(1.0f, 0.7f, 2, 12), probabilities(1, {1}));
    check_frequencies(options_of(1.0f, 0.8f, 2, 13), probabilities(1, {1, 3}));
}

TEST_CASE("the same seed draws the same words, another seed others", "[sampler]")
{
    const auto words = [](std::uint64_t seed) {
        RandomNumbers random(seed);
        std::vector<std::int64_t> drawn;
        for (int i = 0; i < 60; ++i)
            drawn.push_back(draw(options_of(2.0f, 1.0f, 0, seed), random));
        return drawn;
    };
    CHECK(words(42) == words(42));
    CHECK(words(42) != words(43));
}

TEST_CASE("equal logits share equally under temperature", "[sampler]")
{
    const std::array<float, 4> equal{2.0f, 2.0f, 2.0f, 2.0f};
    RandomNumbers random(4);
    std::array<int, 4> count{};
    for (int i = 0; i < 8000; ++i)
        ++at(count, sample(equal.data(), 4, options_of(1.0f, 1.0f, 0, 0), random));
    for (int found : count)
        CHECK(found == Approx(2000).margin(160));
}
