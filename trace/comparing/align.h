// Two traces of the same words whose tensors have other shapes: a prompt padded on the left, a cache with
// room for more tokens than there are.
#pragma once

#include <functional>
#include <optional>

#include "trace/comparing/compare.h"

namespace pictor {

// Tokens of padding in front of a's prompt, and of b's.
struct LeftPadding {
    std::int64_t a = 0, b = 0;
};
LeftPadding left_padding(const Trace& a, const Trace& b);

// How the axes of two shapes go together; nothing where they do not.
struct Aligned {
    std::vector<std::int64_t> first_a, first_b, extents;  // of the part that both have
    std::string note;                                     // in words
};
std::optional<Aligned> align(const TensorComparison& tensor, const LeftPadding& padding);

// The common part, number by number: visit(position in the tensor that names the elements, a, b). False: one
// of them is not whole, or too large to hold; or keys that only one has are attended to.
bool visit_aligned(const Trace& a, const Trace& b, const TensorComparison& tensor, const Aligned& aligned,
                   const std::function<void(std::int64_t, float, float)>& visit);

}  // namespace pictor
