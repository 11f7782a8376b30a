#include "bench/linear_steps.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <functional>
#include <random>
#include <stdexcept>
#include <vector>

#include <fmt/format.h>
#include <omp.h>

#include "reference/math/dot.h"
#include "reference/math/linear.h"

namespace pictor {

namespace {

// Each step runs at least this long, so that on a busy machine some of its runs have the cores to themselves.
constexpr double worth_seconds = 2;

Tensor random_tensor(const Shape& shape, unsigned seed)
{
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    Tensor tensor(shape);
    for (float& value : tensor.values)
        value = normal(random);
    return tensor;
}

// A row of x against a row of the weight: each product of rows on its own, in partial sums side by side.
Tensor row_by_row(const Tensor& x, const Tensor& weight)
{
    Tensor y({x.extent(0), weight.extent(0)});
    for (std::int64_t row = 0; row < x.extent(0); ++row)
        for (std::int64_t out = 0; out < weight.extent(0); ++out)
            y(row, out) = dot_fast(x.row(row), weight.row(out), x.extent(1));
    return y;
}

// Packed panels, but one row of x at a time: no register tile.
Tensor panels_by_row(const Tensor& x, const Tensor& weight)
{
    const std::int64_t n_out = weight.extent(0), n_in = weight.extent(1);
    const Panels panels = pack_panels(weight.data(), n_out, n_in, n_in, 1);
    Tensor y({x.extent(0), n_out});
    for (std::int64_t row = 0; row < x.extent(0); ++row)
        multiply_panels(x.row(row), 1, n_in, panels, y.row(row), n_out);
    return y;
}

double largest_difference(const Tensor& one, const Tensor& other)
{
    double most = 0;
    for (std::size_t i = 0; i < one.values.size(); ++i)
        most = std::max(most, std::abs(double{one.values[i]} - double{other.values[i]}));
    return most;
}

}  // namespace

int print_linear_steps(std::int64_t n_rows, std::int64_t n_out, std::int64_t n_in, int repeat)
{
    if (n_rows < 1 || n_out < 1 || n_in < 1 || repeat < 1)
        throw std::runtime_error("linear: ROWS, OUT, IN and REPEAT must be at least 1");
    const Tensor x = random_tensor({n_rows, n_in}, 1), weight = random_tensor({n_out, n_in}, 2);
    std::vector<std::uint16_t> halves;
    for (float value : weight.values)
        halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    const Matrix matrix{weight.data(), DType::f32, n_out, n_in, "weight"};
    const Matrix half_matrix{halves.data(), DType::bf16, n_out, n_in, "weight in BF16"};
    const int n_threads = omp_get_max_threads();
    const Tensor wanted = linear_plain(x, matrix), wanted_half = linear_plain(x, half_matrix);

    struct Step {
        const char* name;
        int threads;
        std::function<Tensor()> run;
        const Tensor& wanted;
    };
    const Step steps[] = {
        {"plain loops", 1, [&] { return linear_plain(x, matrix); }, wanted},
        {"partial sums side by side", 1, [&] { return row_by_row(x, weight); }, wanted},
        {"packed panels, row by row", 1, [&] { return panels_by_row(x, weight); }, wanted},
        {"register tiles", 1, [&] { return linear_fast(x, matrix); }, wanted},
        {"threads", n_threads, [&] { return linear_fast(x, matrix); }, wanted},
        {"weights in BF16", n_threads, [&] { return linear_fast(x, half_matrix); }, wanted_half},
    };
    fmt::print("{} rows, {} inputs, {} outputs; best of {} or of two seconds\n", n_rows, n_in, n_out, repeat);
    fmt::print("{:<28}{:>8}{:>12}{:>10}{:>12}\n", "step", "threads", "ms", "GFLOP/s", "off by");
    bool right = true;
    for (const Step& step : steps) {
        omp_set_num_threads(step.threads);
        double best = HUGE_VAL, apart = 0, total = 0;
        for (int i = 0; i < repeat || total < worth_seconds; ++i) {
            const auto start = std::chrono::steady_clock::now();
            const Tensor y = step.run();
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
            best = std::min(best, took.count());
            total += took.count();
            apart = std::max(apart, largest_difference(y, step.wanted));
        }
        // Rounding of a sum of n_in products of numbers around 1, in any order.
        right = right && apart < 1e-6 * static_cast<double>(n_in);
        const double work =
            2e-9 * static_cast<double>(n_rows) * static_cast<double>(n_out) * static_cast<double>(n_in);
        fmt::print("{:<28}{:>8}{:>12.2f}{:>10.1f}{:>12.1e}\n", step.name, step.threads, best * 1e3,
                   work / best, apart);
    }
    return right ? 0 : 1;
}

}  // namespace pictor
