#include "trace/recording/number_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/at.h"

namespace pictor {
namespace {

constexpr std::int64_t piece = 2048;         // numbers that a thread turns into text at a time
constexpr std::int64_t pieces_at_once = 32;  // then they are written
constexpr std::int64_t longest_number = 24;  // bytes, with a comma and a line's end before it

// The shortest decimal that reads back to the same number. JSON has no NaN and infinities: they are strings.
template <typename Number> char* number_text(Number value, char* to)
{
    if constexpr (std::is_floating_point_v<Number>) {
        if (!std::isfinite(value)) {
            const std::string_view word = std::isnan(value) ? "\"NaN\""
                                          : value > 0       ? "\"Infinity\""
                                                            : "\"-Infinity\"";
            return to + word.copy(to, word.size());
        }
    }
    return std::to_chars(to, to + longest_number, value).ptr;
}

// Puts the numbers as text at `to`; returns its length.
template <typename Number> std::size_t text_of(const KeptNumbers<Number>& kept, char* const to)
{
    char* end = to;
    std::int64_t in_line = kept.written % kept.per_line;
    for (std::int64_t i = 0; i < kept.count; ++i) {
        if (kept.written + i > 0)
            *end++ = ',';
        if (kept.written + i > 0 && in_line == 0)
            *end++ = '\n';
        end = number_text(kept.values[i * kept.stride], end);
        in_line = in_line + 1 == kept.per_line ? 0 : in_line + 1;
    }
    return static_cast<std::size_t>(end - to);
}

}  // namespace

template <typename Number> void NumberWriter::write(const KeptNumbers<Number>& kept, OutputFile& file)
{
    text_.resize(static_cast<std::size_t>(pieces_at_once * piece * longest_number));
    for (std::int64_t first = 0; first < kept.count; first += piece * pieces_at_once) {
        const std::int64_t end = std::min(first + piece * pieces_at_once, kept.count);
        const std::int64_t n_pieces = (end - first + piece - 1) / piece;
        std::array<std::size_t, pieces_at_once> lengths{};
#pragma omp parallel for schedule(static) if (n_pieces > 1)
        for (std::int64_t i = 0; i < n_pieces; ++i) {
            const std::int64_t start = first + i * piece;
            at(lengths, i) = text_of<Number>({kept.values + start * kept.stride, std::min(piece, end - start),
                                              kept.stride, kept.written + start, kept.per_line},
                                             text_.data() + i * piece * longest_number);
        }
        for (std::int64_t i = 0; i < n_pieces; ++i)
            file.write({text_.data() + i * piece * longest_number, at(lengths, i)});
    }
}

template void NumberWriter::write(const KeptNumbers<float>&, OutputFile&);
template void NumberWriter::write(const KeptNumbers<std::int64_t>&, OutputFile&);

}  // namespace pictor
