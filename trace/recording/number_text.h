// The numbers of a tensor file as text: commas between them, a line for each innermost row.
#pragma once

#include <cstdint>
#include <vector>

#include "base/output_file.h"

namespace pictor {

// Some of the numbers that a tensor's file keeps: every stride-th, the first of them after `written` others.
template <typename Number> struct KeptNumbers {
    const Number* values;
    std::int64_t count, stride, written, per_line;
};

// Turns numbers into text with all threads, and writes it in the order of the numbers.
class NumberWriter {
public:
    template <typename Number> void write(const KeptNumbers<Number>& kept, OutputFile& file);

private:
    std::vector<char> text_;  // used again and again
};

extern template void NumberWriter::write(const KeptNumbers<float>&, OutputFile&);
extern template void NumberWriter::write(const KeptNumbers<std::int64_t>&, OutputFile&);

}  // namespace pictor
