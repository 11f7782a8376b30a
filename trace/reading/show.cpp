#include "trace/reading/show.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <ostream>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/npy.h"
#include "trace/graph/operations.h"
#include "trace/reading/places.h"

using nlohmann::json;

namespace pictor {
namespace {

constexpr std::int64_t most_numbers_shown = 4096;
constexpr std::int64_t numbers_without_slice = 8;
constexpr int histogram_bins = 12, histogram_width = 40;
constexpr std::size_t longest_text = 200;

std::string number_text(double value) { return std::isnan(value) ? "-" : fmt::format("{:.5g}", value); }

std::string statistics_text(const TensorStatistics& statistics)
{
    std::string text =
        fmt::format("{} .. {}  mean {}  std {}", number_text(statistics.min), number_text(statistics.max),
                    number_text(statistics.mean), number_text(statistics.std));
    if (statistics.nonfinite > 0)
        text += fmt::format("  NOT FINITE: {}", statistics.nonfinite);
    return text;
}

std::string axes_text(const TraceEntry& entry)
{
    std::vector<std::string> words;
    for (std::size_t axis = 0; axis < entry.axes.size(); ++axis)
        words.push_back(fmt::format("{} {}", entry.axes[axis], entry.shape[axis]));
    return fmt::format("[{}]", fmt::join(words, ", "));
}

// "language_model.layers.3.mlp" -> "language_model", "layers.3", "mlp": an index belongs to the word before
// it.
std::vector<std::string> path_of(const std::string& name)
{
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = std::min(name.find('.', at), name.size());
        const std::string part = name.substr(at, end - at);
        const bool index = !part.empty() &&
                           std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
        if (index && !parts.empty())
            parts.back() += "." + part;
        else
            parts.push_back(part);
        at = end + 1;
    }
    return parts;
}

// The layers of a stack, as far as the trace has them.
struct Stack {
    std::int64_t layers = 0, tensors = 0, last = -1;
};

// "vision_model.transformer.layers." of a tensor inside a layer; empty: it stands around the layers.
std::string stack_of(const NameParts& parts) { return parts.module.substr(0, parts.module.rfind('.') + 1); }

void show_stack(std::ostream& out, const std::string& stack, const Stack& has, std::size_t depth)
{
    out << fmt::format("{:{}}{}0 to {}  ({} layers, {} tensors; --all lists them)\n", "", 2 + 2 * depth,
                       stack.substr(stack.rfind('.', stack.size() - 2) + 1), has.last, has.layers,
                       has.tensors);
}

void show_tree(std::ostream& out, const Trace& trace, std::int64_t step, bool all)
{
    constexpr std::int64_t one_screen = 30;
    std::map<std::string, Stack> stacks;
    std::int64_t count = 0;
    for (const TraceEntry& entry : trace.entries())
        if (entry.step == step) {
            const NameParts parts = split_name(entry.name);
            Stack& stack = stacks[stack_of(parts)];
            ++count;
            ++stack.tensors;
            stack.layers += parts.layer != stack.last;
            stack.last = parts.layer;
        }
    std::vector<std::string> before;
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step != step)
            continue;
        if (const std::string stack = stack_of(split_name(entry.name));
            !all && count > one_screen && !stack.empty()) {
            const auto found = stacks.find(stack);
            if (found != stacks.end())
                show_stack(out, stack, found->second,
                           path_of(entry.name).size() > 1 && stack.starts_with("vision") ? 2 : 1);
            if (found != stacks.end())
                stacks.erase(found);
            continue;
        }
        const std::vector<std::string> path = path_of(entry.name);
        std::size_t shared = 0;
        while (shared + 1 < path.size() && shared < before.size() && path[shared] == before[shared])
            ++shared;
        for (; shared + 1 < path.size(); ++shared)
            out << fmt::format("{:{}}{}\n", "", 2 + 2 * shared, path[shared]);
        const std::string kept = entry.values == TraceValues::all
                                     ? ""
                                     : fmt::format("  ({} kept)", trace_values_text(entry.values));
        const std::string label = std::string(2 + 2 * (path.size() - 1), ' ') + path.back();
        out << fmt::format("{:<34} {:<44} {}{}{}\n", label, axes_text(entry),
                           entry.dtype == "F32" ? "" : entry.dtype + "  ", statistics_text(entry.statistics),
                           kept);
        before = path;
    }
}

void show_text(std::ostream& out, const Trace& trace, const char* label, const char* pointer)
{
    const json::json_pointer path(pointer);
    if (!trace.header().contains(path))
        return;
    std::string text = trace.header().at(path).dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > longest_text) {
        text.resize(longest_text);
        while (!text.empty() && (text.back() & 0xc0) == 0x80)  // not in the middle of a character
            text.pop_back();
        if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xc0)
            text.pop_back();
        text += "...";
    }
    out << fmt::format("{:<10} {}\n", label, text);
}

void show_histogram(std::ostream& out, const Trace& trace, const TraceEntry& entry)
{
    const double low = entry.statistics.min, high = entry.statistics.max;
    if (entry.values == TraceValues::none || !(high > low) || !std::isfinite(high - low))
        return;
    std::vector<std::int64_t> counts(histogram_bins);
    std::vector<float> block(1 << 14);
    ValueStream numbers = trace.stream(entry);
    while (const std::int64_t count = numbers.read(block.data(), static_cast<std::int64_t>(block.size())))
        for (std::int64_t i = 0; i < count; ++i)
            if (const double value = at(block, i); std::isfinite(value)) {
                const double place = (value - low) / (high - low) * histogram_bins;
                ++at(counts, std::clamp(place, 0.0, histogram_bins - 1.0));
            }
    const std::int64_t most = std::max<std::int64_t>(1, *std::max_element(counts.begin(), counts.end()));
    out << (entry.values == TraceValues::sample ? "histogram of the sample\n" : "histogram\n");
    for (int bin = 0; bin < histogram_bins; ++bin) {
        const std::int64_t count = at(counts, bin);
        const auto bar = static_cast<std::size_t>((count * histogram_width + most - 1) / most);
        out << fmt::format("  {:>11.4g} {:<{}} {}\n", low + (high - low) * bin / histogram_bins,
                           std::string(bar, '#'), histogram_width, count);
    }
}

// Row-major positions of a slice, ascending.
std::vector<std::int64_t> positions_of(const std::vector<SliceAxis>& slice,
                                       const std::vector<std::int64_t>& shape)
{
    std::int64_t count = 1;
    for (const SliceAxis& axis : slice) {
        count *= axis.last - axis.first;
        if (count > most_numbers_shown)
            throw std::runtime_error(fmt::format(
                "the slice has more than {} numbers; want fewer, such as [0,0,:8]", most_numbers_shown));
    }
    std::vector<std::int64_t> positions{0};
    for (std::size_t axis = 0; axis < slice.size(); ++axis) {
        std::vector<std::int64_t> longer;
        for (std::int64_t position : positions)
            for (std::int64_t index = slice[axis].first; index < slice[axis].last; ++index)
                longer.push_back(position * shape[axis] + index);
        positions = std::move(longer);
    }
    return positions;
}

// One text per position; "?" where a sample does not keep it.
std::vector<std::string> pick(const Trace& trace, const TraceEntry& entry,
                              const std::vector<std::int64_t>& positions)
{
    std::vector<std::string> texts;
    if (entry.values != TraceValues::all && !entry.npy.empty()) {
        for (std::int64_t position : positions)
            texts.push_back(fmt::format("{:.9g}", trace.load_range(entry, position, 1).front()));
        return texts;
    }
    const std::int64_t start = entry.values == TraceValues::sample ? entry.sample.start : 0;
    const std::int64_t stride = entry.values == TraceValues::sample ? entry.sample.stride : 1;
    ValueStream numbers = trace.stream(entry);
    std::vector<float> block(1 << 12);
    std::int64_t read = 0, count = 0;  // numbers before the block, and in it
    for (std::int64_t position : positions) {
        const std::int64_t kept = position - start;
        if (kept < 0 || kept % stride != 0) {
            texts.emplace_back("?");
            continue;
        }
        while (kept / stride >= read + count) {
            read += count;
            count = numbers.read(block.data(), static_cast<std::int64_t>(block.size()));
        }
        texts.push_back(fmt::format("{:.9g}", at(block, kept / stride - read)));
    }
    return texts;
}

void show_slice(std::ostream& out, const Trace& trace, const TraceEntry& entry,
                const std::vector<SliceAxis>& slice)
{
    const std::vector<std::int64_t> positions = positions_of(slice, entry.shape);
    if (positions.empty())
        return;
    const std::vector<std::string> texts = pick(trace, entry, positions);
    const std::int64_t row = slice.empty() ? 1 : slice.back().last - slice.back().first;
    const Places places(trace);
    for (std::size_t i = 0; i < positions.size(); i += static_cast<std::size_t>(row)) {
        const auto from = texts.begin() + static_cast<std::ptrdiff_t>(i);
        out << fmt::format("from {}\n  {}\n", places.describe(entry, positions[i]),
                           fmt::join(from, from + row, "  "));
    }
    if (std::find(texts.begin(), texts.end(), "?") != texts.end())
        out << "?: not among the numbers that this trace keeps; record with --trace-values all\n";
}

std::int64_t parse_index(std::string_view text, std::int64_t extent, std::int64_t absent,
                         const std::string& whole)
{
    while (!text.empty() && text.front() == ' ')
        text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ')
        text.remove_suffix(1);
    if (text.empty())
        return absent;
    std::int64_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc() || end != text.data() + text.size())
        throw std::runtime_error(
            fmt::format("slice [{}]: '{}' is no index; want such as [0,3,:8]", whole, text));
    return index < 0 ? index + extent : index;
}

}  // namespace

const TraceEntry& find_or_suggest(const Trace& trace, const std::string& name, std::int64_t step)
{
    if (const TraceEntry* entry = trace.find(name, step))
        return *entry;
    std::vector<std::string> close;
    for (const TraceEntry& entry : trace.entries())
        if (entry.step == step && close.size() < 5 && entry.name.find(name) != std::string::npos)
            close.push_back(entry.name);
    throw std::runtime_error(
        fmt::format("{}: has no tensor {} in step {}{}", trace.folder().string(), name, step,
                    close.empty() ? "; `trace show` lists them"
                                  : fmt::format("; did you mean {}?", fmt::join(close, ", "))));
}

SliceRequest parse_slice_request(const std::string& text)
{
    const std::size_t bracket = text.find('[');
    if (bracket == std::string::npos)
        return {text, "", false};
    if (text.back() != ']')
        throw std::runtime_error(fmt::format("'{}': a slice ends in ']', such as NAME[0,3,:8]", text));
    return {text.substr(0, bracket), text.substr(bracket + 1, text.size() - bracket - 2), true};
}

std::vector<SliceAxis> parse_slice(const std::string& indices, const std::vector<std::int64_t>& shape)
{
    std::vector<SliceAxis> slice;
    for (std::size_t at = 0; at <= indices.size() && !(indices.empty() && shape.empty());) {
        const std::size_t comma = std::min(indices.find(',', at), indices.size());
        const std::string_view part = std::string_view(indices).substr(at, comma - at);
        if (slice.size() == shape.size())
            throw std::runtime_error(
                fmt::format("slice [{}]: has more axes than shape {}", indices, shape_text(shape)));
        const std::int64_t extent = shape[slice.size()];
        const std::size_t colon = part.find(':');
        SliceAxis axis;
        if (colon != std::string_view::npos) {
            axis.first = parse_index(part.substr(0, colon), extent, 0, indices);
            axis.last = std::min(extent, parse_index(part.substr(colon + 1), extent, extent, indices));
        } else {
            axis.first = parse_index(part, extent, -1, indices);
            axis.single = axis.first != -1 || part.find_first_not_of(' ') != std::string_view::npos;
            axis.first = axis.single ? axis.first : 0;
            axis.last = axis.single ? axis.first + 1 : extent;
        }
        if (axis.first < 0 || axis.first > axis.last || axis.last > extent)
            throw std::runtime_error(
                fmt::format("slice [{}]: '{}' is outside an axis of {}", indices, part, extent));
        slice.push_back(axis);
        at = comma + 1;
    }
    for (std::size_t axis = slice.size(); axis < shape.size(); ++axis)
        slice.push_back({0, shape[axis], false});
    return slice;
}

void show_trace(std::ostream& out, const Trace& trace, std::int64_t step, bool all)
{
    if (step < 0 || (step > 0 && step >= static_cast<std::int64_t>(trace.steps().size())))
        throw std::runtime_error(fmt::format("{}: has no step {}; it has {} steps", trace.folder().string(),
                                             step, trace.steps().size()));
    show_text(out, trace, "producer", "/producer");
    show_text(out, trace, "reference", "/reference");
    show_text(out, trace, "prompt", "/prompt/text");
    show_text(out, trace, "generated", "/generated/text");
    show_text(out, trace, "images", "/images");
    std::vector<std::int64_t> counts(trace.steps().size());
    for (const TraceEntry& entry : trace.entries())
        ++at(counts, entry.step);
    for (const TraceStep& each : trace.steps())
        if (each.index < 4 || each.index == step ||
            each.index + 1 == static_cast<std::int64_t>(trace.steps().size()))
            out << fmt::format("step {:<5} {}: {} tokens from {} on, {} tensors\n", each.index, each.kind,
                               each.token_count, each.first_token, at(counts, each.index));
        else if (each.index == 4)
            out << "...\n";
    out << fmt::format("\nTensors of step {}\n", step);
    show_tree(out, trace, step, all);
}

void show_tensor(std::ostream& out, const Trace& trace, const std::string& name, std::int64_t step)
{
    const SliceRequest request = parse_slice_request(name);
    const TraceEntry& entry = find_or_suggest(trace, request.name, step);
    out << fmt::format("{}  step {}\n{}  {}  values: {}", entry.name, entry.step, axes_text(entry),
                       entry.dtype, trace_values_text(entry.values));
    if (entry.values == TraceValues::sample)
        out << fmt::format(" (every {}th from {} on, {} of {})", entry.sample.stride, entry.sample.start,
                           entry.sample.count, entry.size());
    out << fmt::format("\n{}  l2 {}  zeros {}\n", statistics_text(entry.statistics),
                       number_text(entry.statistics.l2), entry.statistics.zeros);
    if (!entry.source.empty())
        out << "computed at " << entry.source << "\n";
    if (!entry.whole() && entry.values == TraceValues::none) {
        if (request.given)
            throw std::runtime_error(fmt::format("{}: the trace keeps only statistics of {}",
                                                 trace.folder().string(), entry.name));
        return;
    }
    if (request.given) {
        show_slice(out, trace, entry, parse_slice(request.indices, entry.shape));
        return;
    }
    show_histogram(out, trace, entry);
    std::vector<SliceAxis> start;
    for (std::int64_t extent : entry.shape)
        start.push_back({0, std::min<std::int64_t>(extent, 1), true});
    if (!start.empty())
        start.back() = {0, std::min(entry.shape.back(), numbers_without_slice), false};
    if (entry.whole())
        show_slice(out, trace, entry, start);
}

}  // namespace pictor
