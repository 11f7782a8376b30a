#include "reference/math/linear.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <omp.h>

#include "base/at.h"
#include "tests/catch.h"
#include "tests/reference/small_model.h"

using namespace pictor;
using pictor_test::RandomWeights;

namespace {

// The value of IEEE half bits by the definition: fraction and exponent, no bit tricks.
double half_by_definition(std::uint16_t bits)
{
    const double sign = bits & 0x8000 ? -1 : 1;
    const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent == 31)
        return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                             : sign * std::numeric_limits<double>::infinity();
    return exponent == 0 ? sign * std::ldexp(fraction, -24)
                         : sign * std::ldexp(1024 + fraction, exponent - 25);
}

// Bfloat16: 8 exponent and 7 fraction bits.
double bfloat_by_definition(std::uint16_t bits)
{
    const double sign = bits & 0x8000 ? -1 : 1;
    const int exponent = (bits >> 7) & 255, fraction = bits & 127;
    if (exponent == 255)
        return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                             : sign * std::numeric_limits<double>::infinity();
    return exponent == 0 ? sign * std::ldexp(fraction, -133)
                         : sign * std::ldexp(128 + fraction, exponent - 134);
}

void check_all_halves(DType dtype, double (*by_definition)(std::uint16_t))
{
    std::vector<std::uint16_t> bits(65536);
    for (std::size_t i = 0; i < bits.size(); ++i)
        bits[i] = static_cast<std::uint16_t>(i);
    const Matrix matrix{bits.data(), dtype, 256, 256, "halves"};
    int wrong = 0;
    std::vector<float> row(256);
    for (std::int64_t out = 0; out < 256; ++out) {
        matrix.widen_row(out, row.data());
        for (std::int64_t in = 0; in < 256; ++in) {
            const double wanted = by_definition(static_cast<std::uint16_t>(out * 256 + in));
            const double found = at(row, in);
            const bool same = std::isnan(wanted)
                                  ? std::isnan(found)
                                  : found == wanted && std::signbit(found) == std::signbit(wanted);
            wrong += same ? 0 : 1;
        }
    }
    CHECK(wrong == 0);
}

// A random matrix in each dtype; 16-bit ones are random bit patterns of ordinary size.
struct TestMatrix {
    std::vector<float> floats;
    std::vector<std::uint16_t> halves;
    Matrix matrix;

    TestMatrix(RandomWeights& random, DType dtype, std::int64_t n_out, std::int64_t n_in)
    {
        for (std::int64_t i = 0; i < n_out * n_in; ++i) {
            floats.push_back(random.number());
            const std::uint32_t bits = std::bit_cast<std::uint32_t>(floats.back());
            const std::uint16_t sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
            halves.push_back(dtype == DType::bf16 ? static_cast<std::uint16_t>(bits >> 16)
                                                  : static_cast<std::uint16_t>(
                                                        sign | (0x3400u + (bits & 0x7ffu))));  // 0.25 to 1
        }
        const void* data = dtype == DType::f32 ? static_cast<const void*>(floats.data()) : halves.data();
        matrix = {data, dtype, n_out, n_in, "test"};
    }
};

// The largest error of y, as a share of the sum of |x w|, which is what bounds rounding whatever the order of
// the sum.
double worst_share(const Tensor& y, const Tensor& x, const TestMatrix& weight, const Tensor& bias)
{
    const std::int64_t n_in = weight.matrix.n_in, n_out = weight.matrix.n_out, n_rows = x.size() / n_in;
    std::vector<float> row_of_weight(static_cast<std::size_t>(n_in));
    double worst = 0;
    for (std::int64_t out = 0; out < n_out; ++out) {
        weight.matrix.widen_row(out, row_of_weight.data());
        const float* w = row_of_weight.data();
        for (std::int64_t row = 0; row < n_rows; ++row) {
            const float* input = x.data() + row * n_in;
            double sum = bias.empty() ? 0.0 : at(bias.values, out), size = std::fabs(sum);
            for (std::int64_t in = 0; in < n_in; ++in) {
                const double product = static_cast<double>(input[in]) * w[in];
                sum += product;
                size += std::fabs(product);
            }
            const double share = std::fabs(at(y.values, row * n_out + out) - sum) / size;
            if (!(share <= worst))
                worst = share;
        }
    }
    return worst;
}

// Measured over all shapes below: at most 3e-7 of the sum of |x w| for one product, far less for long sums.
constexpr double rounding_share = 6e-7;

void check_shape(RandomWeights& random, DType dtype, std::int64_t n_rows, std::int64_t n_in,
                 std::int64_t n_out, bool with_bias)
{
    INFO("dtype " << static_cast<int>(dtype) << " rows " << n_rows << " n_in " << n_in << " n_out " << n_out
                  << " bias " << with_bias);
    const Tensor x = random.tensor({n_rows, n_in});
    const TestMatrix weight(random, dtype, n_out, n_in);
    const Tensor bias = with_bias ? random.tensor({n_out}) : Tensor();
    const Tensor plain = linear_plain(x, weight.matrix, bias), fast = linear_fast(x, weight.matrix, bias);
    REQUIRE(plain.shape == Shape{n_rows, n_out});
    REQUIRE(fast.shape == Shape{n_rows, n_out});
    const double plain_share = worst_share(plain, x, weight, bias),
                 fast_share = worst_share(fast, x, weight, bias);
    REQUIRE(plain_share <= rounding_share);
    REQUIRE(fast_share <= rounding_share);
}

}  // namespace

TEST_CASE("all 65,536 half values are widened exactly", "[linear]")
{
    check_all_halves(DType::f16, half_by_definition);
}

TEST_CASE("all 65,536 bfloat16 values are widened exactly", "[linear]")
{
    check_all_halves(DType::bf16, bfloat_by_definition);
}

TEST_CASE("a stretch of a row is widened from where it begins", "[linear]")
{
    RandomWeights random(1);
    for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const TestMatrix weight(random, dtype, 3, 10);
        std::vector<float> whole(10), part(4, -9.0f);
        weight.matrix.widen_row(2, whole.data());
        weight.matrix.widen_row(2, 5, 3, part.data());
        CHECK(std::equal(part.begin(), part.begin() + 3, whole.begin() + 5));
        CHECK(part[3] == -9.0f);
    }
}

TEST_CASE("the plain and the fast linear agree with double at every shape", "[linear]")
{
    RandomWeights random(2);
    for (std::int64_t n_rows : {1, 2, 7, 8, 9, 16, 17, 63, 64, 100, 128, 129})
        for (std::int64_t n_in : {1, 15, 17, 64, 129, 255, 257, 513, 1025})
            for (std::int64_t n_out : {1, 5, 31, 32, 33})
                check_shape(random, DType::f32, n_rows, n_in, n_out, n_out == 31);
}

TEST_CASE("16-bit weights are multiplied in float32", "[linear]")
{
    RandomWeights random(3);
    for (DType dtype : {DType::bf16, DType::f16})
        for (std::int64_t n_rows : {1, 2, 7, 8, 9, 16, 63, 64, 100, 129})
            for (std::int64_t n_in : {1, 17, 64, 1025})
                for (std::int64_t n_out : {1, 31, 33})
                    check_shape(random, dtype, n_rows, n_in, n_out, true);
}

TEST_CASE("linear is the same bit for bit with any number of threads", "[linear]")
{
    RandomWeights random(9);
    const int before = omp_get_max_threads();
    for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const TestMatrix weight(random, dtype, 1101, 707);
        for (std::int64_t n_rows : {1, 2, 7, 8, 9, 16, 63, 64, 100, 129}) {
            INFO("dtype " << static_cast<int>(dtype) << " rows " << n_rows);
            const Tensor x = random.tensor({n_rows, 707});
            omp_set_num_threads(1);
            const Tensor alone = linear_fast(x, weight.matrix);
            for (int n_threads : {2, 3}) {
                omp_set_num_threads(n_threads);
                CHECK(linear_fast(x, weight.matrix).values == alone.values);
            }
        }
    }
    omp_set_num_threads(before);
}

TEST_CASE("linear takes work for several threads, and no rows at all", "[linear]")
{
    RandomWeights random(4);
    check_shape(random, DType::f32, 2, 700, 500, true);   // few rows, above the threshold for threads
    check_shape(random, DType::f32, 20, 300, 130, true);  // many rows, several panels
    for (const auto function : {linear, linear_plain, linear_fast}) {
        const Tensor none = function(Tensor({0, 5}), random.matrix(3, 5), random.tensor({3}));
        CHECK(none.shape == Shape{0, 3});
    }
}

TEST_CASE("linear keeps leading axes and refuses what does not fit", "[linear]")
{
    RandomWeights random(5);
    const Matrix weight = random.matrix(4, 6);
    const Tensor x = random.tensor({2, 3, 6});
    Tensor flat = x;
    flat.shape = {6, 6};
    for (const auto function : {linear, linear_plain, linear_fast}) {
        const Tensor y = function(x, weight, {});
        CHECK(y.shape == Shape{2, 3, 4});
        CHECK(y.values == function(flat, weight, {}).values);
        CHECK_THROWS_WITH(function(Tensor({2, 5}), weight, {}), ContainsSubstring("random") &&
                                                                    ContainsSubstring("6") &&
                                                                    ContainsSubstring("[2, 5]"));
        CHECK_THROWS_WITH(function(x, weight, Tensor({5})),
                          ContainsSubstring("bias") && ContainsSubstring("[4]") && ContainsSubstring("[5]"));
        CHECK_THROWS_AS(function(Tensor(), weight, {}), std::runtime_error);
    }
}

TEST_CASE("a NaN in a weight reaches exactly its output", "[linear]")
{
    RandomWeights random(6);
    for (std::int64_t n_rows : {1, 20, 140}) {
        TestMatrix weight(random, DType::f32, 40, 30);
        weight.floats[35 * 30 + 7] = std::numeric_limits<float>::quiet_NaN();
        const Tensor y = linear_fast(random.tensor({n_rows, 30}), weight.matrix);
        for (std::int64_t row = 0; row < n_rows; ++row)
            for (std::int64_t out = 0; out < 40; ++out)
                CHECK(std::isnan(y(row, out)) == (out == 35));
    }
}

TEST_CASE("packed panels multiply strided rows and leave the gaps alone", "[linear]")
{
    RandomWeights random(8);
    for (std::int64_t n_rows : {1, 3, 4, 12, 13, 29}) {
        for (std::int64_t n_out : {1, 16, 31, 32, 33, 70}) {
            const std::int64_t n_in = 9, x_stride = 14, y_stride = n_out + 3, out_stride = 2,
                               in_stride = n_out * 2 + 1;
            INFO("rows " << n_rows << " n_out " << n_out);
            const Tensor x = random.tensor({n_rows * x_stride}),
                         w = random.tensor({n_in * in_stride + n_out * out_stride});
            const Panels panels = pack_panels(w.data(), n_out, n_in, out_stride, in_stride);
            REQUIRE(panels.n_out == n_out);
            REQUIRE(panels.n_in == n_in);
            std::vector<float> y(static_cast<std::size_t>(n_rows * y_stride),
                                 77.0f);  // old contents must not count
            multiply_panels(x.data(), n_rows, x_stride, panels, y.data(), y_stride);
            double worst = 0;
            bool gaps_kept = true;
            for (std::int64_t row = 0; row < n_rows; ++row) {
                for (std::int64_t out = 0; out < n_out; ++out) {
                    double sum = 0;
                    for (std::int64_t in = 0; in < n_in; ++in)
                        sum += static_cast<double>(x(row * x_stride + in)) *
                               w(out * out_stride + in * in_stride);
                    worst = std::max(worst, std::fabs(sum - at(y, row * y_stride + out)));
                }
                for (std::int64_t gap = n_out; gap < y_stride; ++gap)
                    gaps_kept = gaps_kept && at(y, row * y_stride + gap) == 77.0f;
            }
            CHECK(worst < 2e-6);
            CHECK(gaps_kept);
        }
    }
}
