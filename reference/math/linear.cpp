#include "reference/math/linear.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "base/small_floats.h"
#include "reference/math/build.h"
#include "reference/math/dot.h"

namespace pictor {

namespace {

// How many numbers of the sums fit in registers: rows x panel_width. 24 of AVX-512's 32 registers, 12 of
// AVX2's 16. Not 16 wide: g++ 12 unrolls a loop of 16 before it thinks of vectors, and then uses none.
#if defined(__AVX512F__)
constexpr std::int64_t panel_width = 32;
constexpr std::int64_t panel_rows = 12;
#else
constexpr std::int64_t panel_width = 24;
constexpr std::int64_t panel_rows = 4;
#endif

constexpr std::int64_t chunk_length = 1024;      // inputs per packed panel: 128 KiB, within the second cache
constexpr std::int64_t few_rows = 8;             // below this, packing costs more than it saves
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

// One panel against rows of x: sums[row][out] over `count` inputs, added to what y holds.
// The sums stay in registers; the innermost loop runs over outputs, which lie side by side in the panel.
template <std::int64_t n_rows>
[[gnu::always_inline]] inline void multiply_rows(const float* x, std::int64_t x_stride, const float* panel,
                                                 std::int64_t count, float* y, std::int64_t y_stride,
                                                 std::int64_t n_out)
{
    float sums[n_rows][panel_width] = {};
    for (std::int64_t in = 0; in < count; ++in)
        for (std::int64_t row = 0; row < n_rows; ++row)
            for (std::int64_t out = 0; out < panel_width; ++out)
                sums[row][out] += x[row * x_stride + in] * panel[in * panel_width + out];
    for (std::int64_t row = 0; row < n_rows; ++row)
        for (std::int64_t out = 0; out < n_out; ++out)
            y[row * y_stride + out] += sums[row][out];
}

PICTOR_VECTOR_WIDTHS
void multiply_panel(const float* x, std::int64_t n_rows, std::int64_t x_stride, const float* panel,
                    std::int64_t count, float* y, std::int64_t y_stride, std::int64_t n_out)
{
    std::int64_t row = 0;
    for (; row + panel_rows <= n_rows; row += panel_rows)
        multiply_rows<panel_rows>(x + row * x_stride, x_stride, panel, count, y + row * y_stride, y_stride,
                                  n_out);
    for (; row + 4 <= n_rows; row += 4)
        multiply_rows<4>(x + row * x_stride, x_stride, panel, count, y + row * y_stride, y_stride, n_out);
    for (; row < n_rows; ++row)
        multiply_rows<1>(x + row * x_stride, x_stride, panel, count, y + row * y_stride, y_stride, n_out);
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

// Few rows: the weight is read once from memory and each row of it meets every row of x while it is at hand.
void linear_few_rows(const Tensor& x, std::int64_t n_rows, const Matrix& weight, Tensor& y)
{
#pragma omp parallel if (n_rows * weight.n_out * weight.n_in > worth_threads)
    {
        std::vector<float> widened(static_cast<std::size_t>(weight.n_in));
#pragma omp for
        for (std::int64_t out = 0; out < weight.n_out; ++out) {
            const float* row_of_weight = static_cast<const float*>(weight.data) + out * weight.n_in;
            if (weight.dtype != DType::f32) {
                weight.widen_row(out, widened.data());
                row_of_weight = widened.data();
            }
            for (std::int64_t row = 0; row < n_rows; ++row)
                y.data()[row * weight.n_out + out] =
                    dot_fast(x.data() + row * weight.n_in, row_of_weight, weight.n_in);
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
                multiply_panel(x.data() + first_in, n_rows, weight.n_in, panel.data(), count,
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
    if (n_rows < few_rows)
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
                   std::int64_t in_stride)
{
    const std::int64_t n_panels = (n_out + panel_width - 1) / panel_width;
    Panels panels{n_out, n_in, std::vector<float>(static_cast<std::size_t>(n_panels * n_in * panel_width))};
    for (std::int64_t out = 0; out < n_out; ++out) {
        float* panel = panels.values.data() + out / panel_width * n_in * panel_width;
        for (std::int64_t in = 0; in < n_in; ++in)
            panel[in * panel_width + out % panel_width] = data[out * out_stride + in * in_stride];
    }
    return panels;
}

void multiply_panels(const float* x, std::int64_t n_rows, std::int64_t x_stride, const Panels& panels,
                     float* y, std::int64_t y_stride)
{
    for (std::int64_t row = 0; row < n_rows; ++row)
        std::fill_n(y + row * y_stride, panels.n_out, 0.0f);
    for (std::int64_t first_out = 0; first_out < panels.n_out; first_out += panel_width) {
        const std::int64_t n_out = std::min(panel_width, panels.n_out - first_out);
        multiply_panel(x, n_rows, x_stride, panels.values.data() + first_out * panels.n_in, panels.n_in,
                       y + first_out, y_stride, n_out);
    }
}

}  // namespace pictor
