// The statistics that a trace has of every tensor: the fast loops against a plain one, number by number in
// extended precision, over numbers that are hard on sums.
#include "tests/catch.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <omp.h>

#include "trace/recording/statistics.h"

using namespace pictor;

namespace {

struct Numbers {
    std::string name;
    std::vector<float> values;
};

// Tensors of awkward lengths: one number, lanes that do not fill, chunks that do not fill, many chunks.
std::vector<Numbers> hard_numbers()
{
    const float lowest = std::numeric_limits<float>::lowest(),
                infinity = std::numeric_limits<float>::infinity();
    std::vector<Numbers> all;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (const std::size_t size :
         {1u, 2u, 15u, 17u, 4095u, 4096u, 4097u, 3u * 4096u + 5u, 40u * 4096u + 33u}) {
        std::vector<float> plain(size), large_mean(size), masked(size), not_finite(size), tiny(size),
            probs(size);
        for (std::size_t i = 0; i < size; ++i) {
            plain[i] = normal(random);
            large_mean[i] = 16000000.0f + static_cast<float>(i % 3);
            masked[i] = i % 7 == 3 ? lowest : plain[i];
            not_finite[i] = i % 1000 == 1   ? NAN
                            : i % 5000 == 4 ? infinity
                            : i % 5000 == 7 ? -infinity
                                            : plain[i];
            tiny[i] = i % 2 == 0 ? 1e-42f : i % 3 == 0 ? -0.0f : -std::numeric_limits<float>::denorm_min();
            probs[i] = i % 4 == 0 ? 0.0f : std::exp(8 * plain[i] - 20);
        }
        const std::string length = " x " + std::to_string(size);
        all.push_back({"normal" + length, plain});
        all.push_back({"large mean" + length, large_mean});
        all.push_back({"masked" + length, masked});
        all.push_back({"not all finite" + length, not_finite});
        all.push_back({"denormal" + length, tiny});
        all.push_back({"probabilities" + length, probs});
        all.push_back({"zeros" + length, std::vector<float>(size, 0.0f)});
        all.push_back({"all masked" + length, std::vector<float>(size, lowest)});
        all.push_back({"NaN alone" + length, std::vector<float>(size, NAN)});
    }
    return all;
}

// One number after another, with 64-bit mantissas.
TensorStatistics in_extended_precision(const std::vector<float>& values)
{
    TensorStatistics expected;
    long double sum = 0, squares = 0, squared_deviations = 0, count = 0;
    for (const float value : values) {
        if (!std::isfinite(value)) {
            ++expected.nonfinite;
            continue;
        }
        expected.zeros += value == 0;
        expected.min = count == 0 ? value : std::fmin(expected.min, value);
        expected.max = count == 0 ? value : std::fmax(expected.max, value);
        sum += value;
        squares += static_cast<long double>(value) * value;
        ++count;
    }
    if (count == 0)
        return expected;
    const long double mean = sum / count;
    for (const float value : values)
        if (std::isfinite(value))
            squared_deviations += (value - mean) * (value - mean);
    expected.mean = static_cast<double>(mean);
    expected.std = static_cast<double>(std::sqrt(squared_deviations / count));
    expected.l2 = static_cast<double>(std::sqrt(squares));
    return expected;
}

TensorStatistics gathered(const std::vector<float>& values, std::size_t piece)
{
    StatisticsGatherer gatherer;
    for (std::size_t i = 0; i < values.size(); i += piece)
        gatherer.add(values.data() + i, static_cast<std::int64_t>(std::min(piece, values.size() - i)));
    return gatherer.result();
}

bool same_bits(const TensorStatistics& a, const TensorStatistics& b)
{
    const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
    return same(a.min, b.min) && same(a.max, b.max) && same(a.mean, b.mean) && same(a.std, b.std) &&
           same(a.l2, b.l2) && a.zeros == b.zeros && a.nonfinite == b.nonfinite;
}

}  // namespace

TEST_CASE("statistics: within double rounding of a plain loop, whatever the numbers")
{
    for (const Numbers& numbers : hard_numbers()) {
        INFO(numbers.name);
        const TensorStatistics got = gathered(numbers.values, numbers.values.size());
        const TensorStatistics expected = in_extended_precision(numbers.values);
        CHECK(got.nonfinite == expected.nonfinite);
        CHECK(got.zeros == expected.zeros);
        if (std::isnan(expected.mean)) {
            CHECK(
                (std::isnan(got.mean) && std::isnan(got.min) && std::isnan(got.max) && std::isnan(got.std)));
            CHECK(got.l2 == 0);
            continue;
        }
        CHECK(got.min == expected.min);
        CHECK(got.max == expected.max);
        const double magnitude = std::fmax(std::abs(got.min), std::abs(got.max));
        CHECK(std::abs(got.mean - expected.mean) <= 1e-15 * magnitude);
        CHECK(std::abs(got.std - expected.std) <= 1e-13 * expected.std + 1e-15 * magnitude);
        CHECK(std::abs(got.l2 - expected.l2) <= 1e-13 * expected.l2);
    }
}

TEST_CASE("statistics: the same bits however the tensor arrives and with any number of threads")
{
    const int threads_before = omp_get_max_threads();
    for (const Numbers& numbers : hard_numbers()) {
        INFO(numbers.name);
        omp_set_num_threads(1);
        const TensorStatistics whole = gathered(numbers.values, numbers.values.size());
        for (const int threads : {1, 2, 3, 5}) {
            omp_set_num_threads(threads);
            for (const std::size_t piece : {std::size_t{37}, std::size_t{4096}, std::size_t{100003}})
                CHECK(same_bits(gathered(numbers.values, piece), whole));
        }
    }
    omp_set_num_threads(threads_before);
}

TEST_CASE("statistics: a small deviation survives beside a large mean")
{
    std::vector<float> values(10000);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = 16000000.0f + (i % 2 == 0 ? 1.0f : -1.0f);
    CHECK(gathered(values, 777).std == Approx(1).epsilon(1e-9));
    CHECK(std::isnan(StatisticsGatherer().result().mean));
}

TEST_CASE("statistics: whole numbers")
{
    StatisticsGatherer gatherer;
    const std::vector<std::int64_t> ids{128000, 0, -1, 128256};
    gatherer.add(ids.data(), 3);
    gatherer.add(ids.data() + 3, 1);
    const TensorStatistics got = gatherer.result();
    CHECK(got.min == -1);
    CHECK(got.max == 128256);
    CHECK(got.zeros == 1);
    CHECK(got.mean == Approx(256255.0 / 4));
    CHECK(got.l2 == Approx(std::sqrt(128000.0 * 128000 + 1 + 128256.0 * 128256)));
}
