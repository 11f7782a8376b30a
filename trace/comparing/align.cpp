#include "trace/comparing/align.h"
#include "base/at.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

namespace pictor {
namespace {

constexpr std::int64_t largest = std::int64_t{1} << 26;

std::int64_t position_of(const std::vector<std::int64_t>& indices, const std::vector<std::int64_t>& first,
                         const std::vector<std::int64_t>& shape)
{
    std::int64_t position = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        position = position * shape[axis] + indices[axis] + first[axis];
    return position;
}

// Whether anything is attended to beyond the common keys.
bool spare_keys_are_empty(const TraceTensor& probs, std::int64_t first, std::int64_t count)
{
    const std::int64_t keys = probs.shape.back();
    for (std::size_t i = 0; i < probs.values.size(); ++i) {
        const std::int64_t key = static_cast<std::int64_t>(i) % keys;
        if ((key < first || key >= first + count) && probs.values[i] != 0)
            return false;
    }
    return true;
}

}  // namespace

LeftPadding left_padding(const Trace& a, const Trace& b)
{
    const TraceEntry *in_a = a.find("input_ids"), *in_b = b.find("input_ids");
    if (!in_a || !in_b || !in_a->whole() || !in_b->whole() || in_a->size() > largest ||
        in_b->size() > largest || in_a->size() == in_b->size())
        return {};
    const std::vector<float> ids_a = a.load(*in_a).values, ids_b = b.load(*in_b).values;
    const bool longer_is_a = ids_a.size() > ids_b.size();
    const std::vector<float>&longer = longer_is_a ? ids_a : ids_b, &shorter = longer_is_a ? ids_b : ids_a;
    const auto extra = static_cast<std::ptrdiff_t>(longer.size() - shorter.size());
    const bool same_words = std::equal(shorter.begin(), shorter.end(), longer.begin() + extra);
    const bool one_id =
        std::all_of(longer.begin(), longer.begin() + extra, [&](float id) { return id == longer.front(); });
    // A prompt that begins with its own first token again has that token twice; that is no padding.
    if (!same_words || !one_id || shorter.empty() || longer.front() == shorter.front())
        return {};
    return longer_is_a ? LeftPadding{extra, 0} : LeftPadding{0, extra};
}

std::optional<Aligned> align(const TensorComparison& tensor, const LeftPadding& padding)
{
    const std::vector<std::int64_t>&a = tensor.a->shape, &b = tensor.b->shape;
    const std::vector<std::string>& axes = naming_entry(tensor).axes;
    const bool own_keys =
        tensor.name.find("cross_attn") == std::string::npos && !tensor.name.starts_with("vision_model");
    if (a.size() != b.size() || axes.size() != a.size())
        return std::nullopt;
    Aligned aligned;
    for (std::size_t axis = 0; axis < a.size(); ++axis) {
        std::int64_t first_a = 0, first_b = 0;
        const bool padded = a[axis] - padding.a == b[axis] - padding.b && a[axis] != b[axis];
        if (a[axis] != b[axis]) {
            if (!(axes[axis] == "token" && padded) && !(axes[axis] == "key" && own_keys))
                return std::nullopt;
            first_a = padding.a;
            first_b = padding.b;
        }
        const std::int64_t extent = std::min(a[axis] - first_a, b[axis] - first_b);
        if (extent < 1)
            return std::nullopt;
        if (axes[axis] == "key" && a[axis] - first_a != b[axis] - first_b)
            aligned.note =
                fmt::format("{} has room for more keys than there are tokens (a static cache): compared "
                            "over the keys that both have",
                            a[axis] - first_a > b[axis] - first_b ? "a" : "b");
        else if (a[axis] != b[axis] && aligned.note.empty())
            aligned.note =
                fmt::format("{} has {} tokens of padding in front of its prompt: compared from the "
                            "first word on",
                            padding.a > 0 ? "a" : "b", padding.a + padding.b);
        aligned.first_a.push_back(first_a);
        aligned.first_b.push_back(first_b);
        aligned.extents.push_back(extent);
    }
    return aligned;
}

bool visit_aligned(const Trace& a, const Trace& b, const TensorComparison& tensor, const Aligned& aligned,
                   const std::function<void(std::int64_t, float, float)>& visit)
{
    if (!tensor.a->whole() || !tensor.b->whole() || tensor.a->size() > largest || tensor.b->size() > largest)
        return false;
    const TraceTensor x = a.load(*tensor.a), y = b.load(*tensor.b);
    if (tensor.name.ends_with(".probs") &&
        (!spare_keys_are_empty(x, aligned.first_a.back(), aligned.extents.back()) ||
         !spare_keys_are_empty(y, aligned.first_b.back(), aligned.extents.back())))
        return false;
    const std::int64_t count = checked_size(tensor.name, aligned.extents);
    for (std::int64_t i = 0; i < count; ++i) {
        const std::vector<std::int64_t> indices = unravel(i, aligned.extents);
        const std::int64_t at_a = position_of(indices, aligned.first_a, x.shape),
                           at_b = position_of(indices, aligned.first_b, y.shape);
        visit(tensor.named_by_b ? at_b : at_a, at(x.values, at_a), at(y.values, at_b));
    }
    return true;
}

}  // namespace pictor
