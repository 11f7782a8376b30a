#include "bench/peaks.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <stdexcept>

#include <fmt/format.h>
#include <omp.h>

#include "reference/math/linear.h"

namespace pictor {

namespace {

double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// 24 vectors of sums, each multiplied and added to without waiting for its neighbour. Returns their total, so
// that no compiler can leave the work out.
float multiply_and_add(std::int64_t count, float factor)
{
#if defined(__AVX512F__)
    typedef float Lanes __attribute__((vector_size(64)));
    constexpr int n_sums = 24;
#else
    typedef float Lanes __attribute__((vector_size(32)));
    constexpr int n_sums = 12;
#endif
    Lanes sums[n_sums] = {}, step = {}, scale = {};
    for (std::size_t lane = 0; lane < sizeof(Lanes) / sizeof(float); ++lane) {
        scale[lane] = factor;
        step[lane] = 0.5f;
        for (int sum = 0; sum < n_sums; ++sum)
            sums[sum][lane] = static_cast<float>(sum);  // of equal ones a compiler would work out one
    }
    for (std::int64_t i = 0; i < count; ++i)
#pragma GCC unroll 24
        for (int sum = 0; sum < n_sums; ++sum)
            sums[sum] = sums[sum] * scale + step;
    float total = 0;
    for (const Lanes& sum : sums)
        for (std::size_t lane = 0; lane < sizeof(Lanes) / sizeof(float); ++lane)
            total += sum[lane];
    return total;
}

#if defined(__AVX512F__)
constexpr double flops_per_round = 2.0 * 24 * 16;
#else
constexpr double flops_per_round = 2.0 * 12 * 8;
#endif

std::uint64_t add_up(const std::uint64_t* words, std::int64_t count)
{
    constexpr std::int64_t lanes = 32;
    std::uint64_t sums[lanes] = {};
    for (std::int64_t i = 0; i + lanes <= count; i += lanes)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += words[i + lane];
    std::uint64_t total = 0;
    for (std::uint64_t sum : sums)
        total += sum;
    return total;
}

}  // namespace

double peak_multiply_add(int n_threads)
{
    constexpr std::int64_t rounds = 200000;
    double best = 0;
    const double start = seconds();
    while (seconds() - start < 0.25) {
        const double begin = seconds();
        const float factor = 1 / (1 + static_cast<float>(begin - start));  // known only now
        float total = 0;
#pragma omp parallel num_threads(n_threads) reduction(+ : total)
        total += multiply_and_add(rounds, factor);
        if (!(total > 0))
            throw std::runtime_error("peak: the sum of positive numbers is not positive");
        best = std::max(best, flops_per_round * rounds * n_threads / (seconds() - begin) * 1e-9);
    }
    return best;
}

double peak_read(int n_threads)
{
    constexpr std::int64_t n_words = std::int64_t{64} << 20, n_parts = 64, part = n_words / n_parts;
    const std::vector<std::uint64_t> words(static_cast<std::size_t>(n_words), 1);
    double best = 0;
    for (const double start = seconds(); seconds() - start < 0.5;) {
        const double begin = seconds();
        std::uint64_t total = 0;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(+ : total)
        for (std::int64_t i = 0; i < n_parts; ++i)
            total += add_up(words.data() + i * part, part);
        if (total != static_cast<std::uint64_t>(n_words))
            throw std::runtime_error(fmt::format("peak: {} ones add up to {}", n_words, total));
        best = std::max(best, static_cast<double>(n_words) * 8 / (seconds() - begin) * 1e-9);
    }
    return best;
}

nlohmann::json measure_peaks()
{
    const int n_threads = omp_get_max_threads();
    return {{"multiply_add_1", peak_multiply_add(1)},
            {"multiply_add_2", peak_multiply_add(n_threads)},
            {"read_1", peak_read(1)},
            {"read_2", peak_read(n_threads)}};
}

nlohmann::json time_linear(std::int64_t n_rows, std::int64_t n_out, std::int64_t n_in,
                           const std::string& dtype, int repeat)
{
    if (n_rows < 1 || n_out < 1 || n_in < 1 || repeat < 1 || (dtype != "f32" && dtype != "bf16"))
        throw std::runtime_error("rows: ROWS, OUT, IN and REPEAT must be at least 1, DTYPE f32 or bf16");
    const std::int64_t n_weights = n_out * n_in, size = dtype == "f32" ? 4 : 2;
    const std::int64_t n_copies = 1 + 200'000'000 / (n_weights * size);
    std::vector<std::uint16_t> halves(static_cast<std::size_t>(n_copies * n_weights * size / 2));
    for (std::size_t i = 0; i < halves.size(); ++i)
        halves[i] = static_cast<std::uint16_t>(0x3c00 + i * 40503 % 256);  // as either type: around 0.01
    Tensor x({n_rows, n_in});
    for (std::int64_t i = 0; i < x.size(); ++i)
        x.data()[i] = static_cast<float>(i * 40503 % 1009) / 1009 - 0.5f;
    std::vector<double> times;
    for (int i = 0; i < repeat; ++i) {
        const Matrix weight{halves.data() + i % n_copies * n_weights * size / 2,
                            size == 4 ? DType::f32 : DType::bf16, n_out, n_in, "weight"};
        const double start = seconds();
        const Tensor y = linear_fast(x, weight);
        times.push_back(seconds() - start);
    }
    return {{"seconds", times}};
}

}  // namespace pictor
