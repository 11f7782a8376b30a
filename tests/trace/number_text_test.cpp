// The numbers of a tensor file as text, against one number after another.
#include "tests/catch.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <omp.h>

#include "base/output_file.h"
#include "tests/trace/trace_fixture.h"
#include "trace/recording/number_text.h"

using namespace pictor;
using namespace pictor_test;

namespace {

template <typename Number>
std::string one_by_one(const std::vector<Number>& values, std::int64_t stride, std::int64_t per_line)
{
    std::string text;
    std::int64_t written = 0;
    for (std::size_t i = 0; i < values.size(); i += static_cast<std::size_t>(stride), ++written) {
        if (written > 0)
            text += written % per_line == 0 ? ",\n" : ",";
        char number[64];
        const auto value = values[i];
        if (!std::isfinite(static_cast<double>(value)))
            text += std::isnan(static_cast<double>(value)) ? "\"NaN\""
                    : value > 0                            ? "\"Infinity\""
                                                           : "\"-Infinity\"";
        else
            text.append(number, std::to_chars(number, number + sizeof number, value).ptr);
    }
    return text;
}

template <typename Number> std::string in_pieces(const std::vector<Number>& values, std::int64_t stride,
                                                 std::int64_t per_line, std::int64_t piece)
{
    const TemporaryFolder folder;
    const auto n_kept = (static_cast<std::int64_t>(values.size()) + stride - 1) / stride;
    {
        OutputFile file(folder / "text");
        NumberWriter writer;
        for (std::int64_t first = 0; first < n_kept; first += piece)
            writer.write<Number>(
                {values.data() + first * stride, std::min(piece, n_kept - first), stride, first, per_line},
                file);
        file.close();
    }
    return read_text(folder / "text");
}

}  // namespace

TEST_CASE("number text: the same bytes with any number of threads, in pieces of any length")
{
    std::vector<float> values(200000);
    std::mt19937 random(3);
    for (float& value : values) {
        const std::uint32_t bits = random();
        std::memcpy(&value, &bits, sizeof value);  // NaN, infinities and denormals among them
    }
    std::vector<std::int64_t> ids(70000);
    for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = i % 3 == 0 ? std::numeric_limits<std::int64_t>::min() : static_cast<std::int64_t>(random());

    const int threads_before = omp_get_max_threads();
    for (const int threads : {1, 2, 3}) {
        omp_set_num_threads(threads);
        for (const std::int64_t piece : {std::int64_t{1} << 30, std::int64_t{4099}}) {
            CHECK(in_pieces(values, 1, 77, piece) == one_by_one(values, 1, 77));
            CHECK(in_pieces(values, 1, 200000, piece) == one_by_one(values, 1, 200000));
            CHECK(in_pieces(values, 3, 16, piece) == one_by_one(values, 3, 16));
            CHECK(in_pieces(ids, 1, 1, piece) == one_by_one(ids, 1, 1));
        }
    }
    omp_set_num_threads(threads_before);
}
