#include "reference/math/linear.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/small_floats.h"
#include "reference/math/build.h"
#include "reference/math/dot.h"

namespace pictor {

namespace {

// How many registers the sums, rows x panel_width, may fill: 24 of AVX-512's 32, 12 of AVX2's 16.
#if defined(__AVX512F__)
constexpr std::int64_t most_lanes = 16, panel_width = 32, sums_in_registers = 24;
#else
constexpr std::int64_t most_lanes = 8, panel_width = 24, sums_in_registers = 12;
#endif

constexpr std::int64_t chunk_length = 1024;  // inputs per packed panel: 128 KiB, within the second cache
constexpr std::int64_t few_rows = 128;       // below this, packing x costs less than packing the weight
constexpr std::int64_t group_outs = 24;      // few rows: outputs that are multiplied at a time,
constexpr std::int64_t group_length = 256;   // ... and their inputs: 24 KiB, within the first cache
constexpr std::int64_t group_stride = group_length + 16;  // else all 24 rows would share few of its lines
constexpr std::int64_t worth_threads = 1 << 19;  // multiplications; with fewer, waking a thread takes longer

std::int64_t count_rows(const Tensor& x, const Matrix& weight, const Tensor& bias)
{
    if (x.shape.empty() || x.shape.back() != weight.n_in)
        throw std::runtime_error(fmt::format("linear {}: wanted input [..., {}], got {}", weight.name,
                                             weight.n_in, shape_text(x.shape)));
    if (!bias.empty())
        require_shape(weight.name + " bias", bias, {weight.n_out});
    return weight.n_in == 0 ? 0 : x.size() / weight.n_in;
}

Tensor make_output(const Tensor& x, const Matrix& weight)
{
    Shape shape = x.shape;
    shape.back() = weight.n_out;
    return Tensor(shape);
}

// One panel against rows of x: sums[row][out] over `count` inputs, added to what y holds. The sums stay in
// registers, n_registers side by side for each row; the outputs of one input lie side by side in the panel.
template <std::int64_t n_rows, std::int64_t n_registers, std::int64_t n_lanes>
[[gnu::always_inline]] inline void multiply_rows(const float* x, std::int64_t x_stride, const float* panel,
                                                 std::int64_t count, float* y, std::int64_t y_stride,
                                                 std::int64_t n_out)
{
    using Lanes = typename Register<n_lanes>::Lanes;
    constexpr std::int64_t width = n_registers * n_lanes;
    Lanes sums[n_rows][n_registers] = {};
    for (std::int64_t in = 0; in < count; ++in) {
        Lanes weights[n_registers];
#pragma GCC unroll 4
        for (std::int64_t i = 0; i < n_registers; ++i)
            std::memcpy(&weights[i], panel + in * width + i * n_lanes, sizeof(Lanes));
#pragma GCC unroll 24
        for (std::int64_t row = 0; row < n_rows; ++row)
#pragma GCC unroll 4
            for (std::int64_t i = 0; i < n_registers; ++i)
                sums[row][i] += x[row * x_stride + in] * weights[i];
    }
#pragma GCC unroll 24
    for (std::int64_t row = 0; row < n_rows; ++row) {
        float finished[width];
#pragma GCC unroll 4
        for (std::int64_t i = 0; i < n_registers; ++i)
            std::memcpy(finished + i * n_lanes, &sums[row][i], sizeof(Lanes));
        for (std::int64_t out = 0; out < n_out; ++out)
            y[row * y_stride + out] += finished[out];
    }
}

// As many rows at a time as registers hold, then four, then one.
template <std::int64_t n_registers, std::int64_t n_lanes>
[[gnu::always_inline]] inline void multiply_tiles(const float* x, std::int64_t n_rows, std::int64_t x_stride,
                                                  const float* panel, std::int64_t count, float* y,
                                                  std::int64_t y_stride, std::int64_t n_out)
{
    constexpr std::int64_t most = sums_in_registers / n_registers;
    std::int64_t row = 0;
    for (; row + most <= n_rows; row += most)
        multiply_rows<most, n_registers, n_lanes>(x + row * x_stride, x_stride, panel, count,
                                                  y + row * y_stride, y_stride, n_out);
    for (; row + 4 <= n_rows; row += 4)
        multiply_rows<4, n_registers, n_lanes>(x + row * x_stride, x_stride, panel, count, y + row * y_stride,
                                               y_stride, n_out);
    for (; row < n_rows; ++row)
        multiply_rows<1, n_registers, n_lanes>(x + row * x_stride, x_stride, panel, count, y + row * y_stride,
                                               y_stride, n_out);
}

// The panel's width is panel_width, or for few rows a narrower one.
PICTOR_VECTOR_WIDTHS
void multiply_panel(std::int64_t width, const float* x, std::int64_t n_rows, std::int64_t x_stride,
                    const float* panel, std::int64_t count, float* y, std::int64_t y_stride,
                    std::int64_t n_out)
{
    if (width == panel_width)
        multiply_tiles<panel_width / most_lanes, most_lanes>(x, n_rows, x_stride, panel, count, y, y_stride,
                                                             n_out);
    else if (width == 16)
        multiply_tiles<16 / most_lanes, most_lanes>(x, n_rows, x_stride, panel, count, y, y_stride, n_out);
    else
        multiply_tiles<1, 8>(x, n_rows, x_stride, panel, count, y, y_stride, n_out);
}

// Outputs first_out ... of the weight, inputs first_in ..., transposed into panel[in][panel_width].
void pack_weight(const Matrix& weight, std::int64_t first_out, std::int64_t first_in, std::int64_t count,
                 float* panel)
{
    const std::int64_t n_out = std::min(panel_width, weight.n_out - first_out);
    // 16 inputs of each output at a time: whole cache lines on both sides.
    float block[panel_width * 16] = {};
    for (std::int64_t in = 0; in < count; in += 16) {
        const std::int64_t width = std::min<std::int64_t>(16, count - in);
        for (std::int64_t out = 0; out < n_out; ++out)
            weight.widen_row(first_out + out, first_in + in, width, block + out * 16);
        for (std::int64_t column = 0; column < width; ++column)
            for (std::int64_t out = 0; out < panel_width; ++out)
                panel[(in + column) * panel_width + out] = block[out * 16 + column];
    }
}

// A row of a weight times one row of x, in partial sums side by side, widened on the way. The prefetch runs
// across the ends of memory pages, where the processor's own stops.
template <typename Weight>
[[gnu::always_inline]] inline float dot_widened(const float* x, const Weight* weight, std::int64_t count)
{
    constexpr std::int64_t lanes = 128, ahead = 2048 / sizeof(Weight);
    float sums[lanes] = {};
    std::int64_t in = 0;
    for (; in + lanes <= count; in += lanes) {
        for (std::int64_t line = 0; line < lanes; line += 64 / sizeof(Weight))
            __builtin_prefetch(weight + in + ahead + line);
        for (std::int64_t lane = 0; lane < lanes; ++lane)
            sums[lane] += x[in + lane] * widen_weight(weight[in + lane]);
    }
    for (std::int64_t half = lanes / 2; half > 0; half /= 2)
        for (std::int64_t lane = 0; lane < half; ++lane)
            sums[lane] += sums[lane + half];
    for (; in < count; ++in)
        sums[0] += x[in] * widen_weight(weight[in]);
    return sums[0];
}

PICTOR_VECTOR_WIDTHS
void dot_each_row(const float* x, const Matrix& weight, std::int64_t first, std::int64_t end, float* y)
{
    for (std::int64_t out = first; out < end; ++out) {
        if (weight.dtype == DType::f32)
            y[out] = dot_widened(x, static_cast<const float*>(weight.data) + out * weight.n_in, weight.n_in);
        else
            y[out] = dot_widened(x, static_cast<const std::uint16_t*>(weight.data) + out * weight.n_in,
                                 weight.n_in);
    }
}

// One row of x, weights in F32 or BF16: what takes the time is reading every weight once from memory.
void linear_one_row(const Tensor& x, const Matrix& weight, Tensor& y)
{
#pragma omp parallel for schedule(static) if (weight.n_out * weight.n_in > worth_threads)
    for (std::int64_t first = 0; first < weight.n_out; first += 64)
        dot_each_row(x.data(), weight, first, std::min(first + 64, weight.n_out), y.data());
}

// Few rows: the sides change places. x is packed, once for all outputs, with its rows side by side, and the
// weight passes by as it lies in the file: 24 outputs and 256 inputs of it are copied out, so that they stay
// in the first cache, and multiplied with every panel of x.
void linear_few_rows(const Tensor& x, std::int64_t n_rows, const Matrix& weight, Tensor& y)
{
    const std::int64_t n_in = weight.n_in, n_groups = (weight.n_out + group_outs - 1) / group_outs;
    const std::int64_t width = n_rows <= 8 ? 8 : n_rows <= 16 ? 16 : panel_width;
    const Panels rows = pack_panels(x.data(), n_rows, n_in, n_in, 1, width);
#pragma omp parallel if (n_rows * weight.n_out * n_in > worth_threads)
    {
        std::vector<float> group(static_cast<std::size_t>(group_outs * group_stride));
        std::vector<float> sums(static_cast<std::size_t>(group_outs * n_rows));
#pragma omp for schedule(static)
        for (std::int64_t index = 0; index < n_groups; ++index) {
            const std::int64_t first_out = index * group_outs;
            const std::int64_t n_out = std::min(group_outs, weight.n_out - first_out);
            std::fill(sums.begin(), sums.end(), 0.0f);
            for (std::int64_t first_in = 0; first_in < n_in; first_in += group_length) {
                const std::int64_t count = std::min(group_length, n_in - first_in);
                for (std::int64_t out = 0; out < n_out; ++out)
                    weight.widen_row(first_out + out, first_in, count, group.data() + out * group_stride);
                for (std::int64_t row = 0; row < n_rows; row += width)
                    multiply_panel(width, group.data(), n_out, group_stride,
                                   rows.values.data() + row * n_in + first_in * width, count,
                                   sums.data() + row, n_rows, std::min(width, n_rows - row));
            }
            for (std::int64_t row = 0; row < n_rows; ++row)
                for (std::int64_t out = 0; out < n_out; ++out)
                    y.data()[row * weight.n_out + first_out + out] = at(sums, out * n_rows + row);
        }
    }
}

void linear_many_rows(const Tensor& x, std::int64_t n_rows, const Matrix& weight, Tensor& y)
{
    const std::int64_t n_panels = (weight.n_out + panel_width - 1) / panel_width;
#pragma omp parallel if (n_rows * weight.n_out * weight.n_in > worth_threads)
    {
        std::vector<float> panel(static_cast<std::size_t>(std::min(chunk_length, weight.n_in) * panel_width));
#pragma omp for schedule(dynamic)
        for (std::int64_t index = 0; index < n_panels; ++index) {
            const std::int64_t first_out = index * panel_width;
            const std::int64_t n_out = std::min(panel_width, weight.n_out - first_out);
            for (std::int64_t first_in = 0; first_in < weight.n_in; first_in += chunk_length) {
                const std::int64_t count = std::min(chunk_length, weight.n_in - first_in);
                pack_weight(weight, first_out, first_in, count, panel.data());
                multiply_panel(panel_width, x.data() + first_in, n_rows, weight.n_in, panel.data(), count,
                               y.data() + first_out, weight.n_out, n_out);
            }
        }
    }
}

}  // namespace

void Matrix::widen_row(std::int64_t out, std::int64_t first, std::int64_t count, float* row) const
{
    const std::int64_t start = out * n_in + first;
    if (dtype == DType::f32) {
        std::memcpy(row, static_cast<const float*>(data) + start,
                    static_cast<std::size_t>(count) * sizeof(float));
        return;
    }
    const std::uint16_t* halves = static_cast<const std::uint16_t*>(data) + start;
    if (dtype == DType::bf16)
        for (std::int64_t i = 0; i < count; ++i)
            row[i] = float_from_bf16(halves[i]);
    else
        for (std::int64_t i = 0; i < count; ++i)
            row[i] = float_from_f16(halves[i]);
}

Tensor linear_plain(const Tensor& x, const Matrix& weight, const Tensor& bias)
{
    const std::int64_t n_rows = count_rows(x, weight, bias);
    Tensor y = make_output(x, weight);
    Tensor row_of_weight({weight.n_in});
    for (std::int64_t out = 0; out < weight.n_out; ++out) {
        weight.widen_row(out, row_of_weight.data());
        for (std::int64_t row = 0; row < n_rows; ++row) {
            const float* input = x.data() + row * weight.n_in;
            float sum = 0;
            for (std::int64_t in = 0; in < weight.n_in; ++in)
                sum += input[in] * row_of_weight(in);
            y.data()[row * weight.n_out + out] = sum + (bias.empty() ? 0.0f : bias(out));
        }
    }
    return y;
}

Tensor linear_fast(const Tensor& x, const Matrix& weight, const Tensor& bias)
{
    const std::int64_t n_rows = count_rows(x, weight, bias);
    Tensor y = make_output(x, weight);
    if (n_rows == 1 && weight.dtype != DType::f16)
        linear_one_row(x, weight, y);
    else if (n_rows <= few_rows)
        linear_few_rows(x, n_rows, weight, y);
    else
        linear_many_rows(x, n_rows, weight, y);
    if (!bias.empty())
        for (std::int64_t row = 0; row < n_rows; ++row)
            add_scaled(1.0f, bias.data(), weight.n_out, y.data() + row * weight.n_out);
    return y;
}

Tensor linear(const Tensor& x, const Matrix& weight, const Tensor& bias)
{
    return use_plain_loops ? linear_plain(x, weight, bias) : linear_fast(x, weight, bias);
}

Panels pack_panels(const float* data, std::int64_t n_out, std::int64_t n_in, std::int64_t out_stride,
                   std::int64_t in_stride, std::int64_t wanted_width)
{
    const std::int64_t width = wanted_width == 0 ? panel_width : wanted_width;
    const std::int64_t n_panels = (n_out + width - 1) / width;
    Panels panels{n_out, n_in, width, std::vector<float>(static_cast<std::size_t>(n_panels * n_in * width))};
    for (std::int64_t out = 0; out < n_out; ++out) {
        float* panel = panels.values.data() + out / width * n_in * width;
        for (std::int64_t in = 0; in < n_in; ++in)
            panel[in * width + out % width] = data[out * out_stride + in * in_stride];
    }
    return panels;
}

void multiply_panels(const float* x, std::int64_t n_rows, std::int64_t x_stride, const Panels& panels,
                     float* y, std::int64_t y_stride)
{
    for (std::int64_t row = 0; row < n_rows; ++row)
        std::fill_n(y + row * y_stride, panels.n_out, 0.0f);
    for (std::int64_t first_out = 0; first_out < panels.n_out; first_out += panels.width) {
        const std::int64_t n_out = std::min(panels.width, panels.n_out - first_out);
        multiply_panel(panels.width, x, n_rows, x_stride, panels.values.data() + first_out * panels.n_in,
                       panels.n_in, y + first_out, y_stride, n_out);
    }
}

}  // namespace pictor
