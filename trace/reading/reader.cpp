#include "trace/reading/reader.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "base/json_file.h"
#include "base/memory_map.h"
#include "base/npy.h"
#include "base/shown_text.h"
#include "trace/reading/index_watch.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace pictor {
namespace {

constexpr std::uint64_t largest_index = std::uint64_t{1} << 30;  // bytes of trace.json
constexpr std::int64_t largest_count = std::int64_t{1} << 40;

[[noreturn]] void fail(const std::string& where, const std::string& found, const std::string& wanted)
{
    throw std::runtime_error(fmt::format("{}: is {}; want {}", where, found, wanted));
}

const json& member(const json& object, const char* key, const std::string& where)
{
    const auto found = object.find(key);
    if (found == object.end())
        throw std::runtime_error(fmt::format("{}: has no \"{}\"", where, key));
    return *found;
}

std::string text_of(const json& object, const char* key, const std::string& where)
{
    const json& value = member(object, key, where);
    if (!value.is_string())
        fail(fmt::format("{}: \"{}\"", where, key), brief_json(value), "a string");
    return value.get<std::string>();
}

std::string optional_text(const json& object, const char* key, const std::string& where)
{
    return object.contains(key) ? text_of(object, key, where) : std::string();
}

std::int64_t whole_number(const json& value, std::int64_t least, std::int64_t most, const std::string& where)
{
    const bool fits = value.is_number_unsigned()
                          ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                          : value.is_number_integer() && value.get<std::int64_t>() <= most;
    if (!fits || value.get<std::int64_t>() < least)
        fail(where, brief_json(value), fmt::format("a whole number from {} to {}", least, most));
    return value.get<std::int64_t>();
}

std::int64_t number_of(const json& object, const char* key, std::int64_t least, std::int64_t most,
                       const std::string& where)
{
    return whole_number(member(object, key, where), least, most, fmt::format("{}: \"{}\"", where, key));
}

// TRAP(climbing_file_name): a trace is data from elsewhere; a file name in it must not lead out of the
// folder.
std::string checked_file_name(const std::string& file, const std::string& where)
{
    const fs::path path(file);
    const bool climbs = path.is_absolute() || std::any_of(path.begin(), path.end(),
                                                          [](const fs::path& part) { return part == ".."; });
    if (file.empty() || climbs || file.find('\0') != std::string::npos ||
        file.find('\\') != std::string::npos)
        fail(where, brief_json(file), "a file inside the trace folder");
    return file;
}

TensorStatistics read_statistics(const json& value, const std::string& where)
{
    if (!value.is_object())
        fail(where, brief_json(value), "an object");
    const auto real = [&](const char* key) {
        const json& number = member(value, key, where);
        if (!number.is_number() && !number.is_null())
            fail(fmt::format("{}: \"{}\"", where, key), brief_json(number), "a number or null");
        return number.is_null() ? std::numeric_limits<double>::quiet_NaN() : number.get<double>();
    };
    TensorStatistics statistics;
    statistics.min = real("min");
    statistics.max = real("max");
    statistics.mean = real("mean");
    statistics.std = real("std");
    statistics.l2 = real("l2");
    statistics.zeros = number_of(value, "zeros", 0, largest_count, where);
    statistics.nonfinite = number_of(value, "nonfinite", 0, largest_count, where);
    return statistics;
}

TraceSample read_sample(const json& value, std::int64_t size, const std::string& where)
{
    if (!value.is_object())
        fail(where, brief_json(value), "an object");
    TraceSample sample;
    sample.start = number_of(value, "start", 0, largest_count, where);
    sample.stride = number_of(value, "stride", 1, largest_count, where);
    sample.count = number_of(value, "count", 0, largest_count, where);
    const std::int64_t wanted =
        sample.start >= size ? 0 : (size - sample.start + sample.stride - 1) / sample.stride;
    if (sample.count != wanted)
        fail(where + ": \"count\"", std::to_string(sample.count),
             fmt::format("{}: every {} of {} numbers from {} on", wanted, sample.stride, size, sample.start));
    return sample;
}

TraceValues read_values_kind(const std::string& text, const std::string& where)
{
    for (TraceValues values : {TraceValues::all, TraceValues::sample, TraceValues::none})
        if (text == trace_values_text(values))
            return values;
    fail(where + ": \"values\"", brief_json(text), "\"all\", \"sample\" or \"none\"");
}

void read_axes_and_shape(const json& value, TraceEntry& entry, const std::string& where)
{
    const json& axes = member(value, "axes", where);
    const json& shape = member(value, "shape", where);
    if (!axes.is_array() || !shape.is_array() || axes.size() != shape.size() || axes.size() > 16)
        fail(where + ": \"axes\" and \"shape\"", brief_json(axes) + " and " + brief_json(shape),
             "two lists of the same length, one word and one extent per axis");
    for (const json& word : axes) {
        if (!word.is_string())
            fail(where + ": \"axes\"", brief_json(axes), "a list of words");
        entry.axes.push_back(word.get<std::string>());
    }
    for (const json& extent : shape)
        entry.shape.push_back(whole_number(extent, 0, largest_count, where + ": \"shape\""));
    checked_size(where, entry.shape);
}

TraceEntry read_entry(const json& value, const std::string& file)
{
    const std::string name = text_of(value, "name", file + ": a tensor");
    const std::string where = fmt::format("{}: tensor {}", file, name);
    check_tensor_name(file, name);
    TraceEntry entry;
    entry.name = name;
    entry.step = number_of(value, "step", 0, largest_count, where);
    read_axes_and_shape(value, entry, where);
    entry.dtype = text_of(value, "dtype", where);
    if (entry.dtype != "F32" && entry.dtype != "BF16" && entry.dtype != "F16" && entry.dtype != "I64")
        fail(where + ": \"dtype\"", brief_json(entry.dtype), "\"F32\", \"BF16\", \"F16\" or \"I64\"");
    entry.values = read_values_kind(text_of(value, "values", where), where);
    if (entry.values != TraceValues::none)
        entry.file = checked_file_name(text_of(value, "file", where), where + ": \"file\"");
    if (entry.values == TraceValues::sample)
        entry.sample = read_sample(member(value, "sample", where), entry.size(), where + ": \"sample\"");
    if (value.contains("npy"))
        entry.npy = checked_file_name(text_of(value, "npy", where), where + ": \"npy\"");
    entry.statistics = read_statistics(member(value, "statistics", where), where + ": \"statistics\"");
    entry.source = optional_text(value, "source", where);
    entry.chapter = optional_text(value, "chapter", where);
    return entry;
}

std::vector<TraceStep> read_steps(const json& header, const std::string& file)
{
    const json& list = member(header, "steps", file);
    if (!list.is_array())
        fail(file + ": \"steps\"", brief_json(list), "a list");
    std::vector<TraceStep> steps;
    for (const json& value : list) {
        const std::string where = fmt::format("{}: steps[{}]", file, steps.size());
        if (!value.is_object())
            fail(where, brief_json(value), "an object");
        TraceStep step;
        step.index = number_of(value, "index", 0, largest_count, where);
        if (step.index != static_cast<std::int64_t>(steps.size()))
            fail(where + ": \"index\"", std::to_string(step.index), std::to_string(steps.size()));
        step.kind = text_of(value, "kind", where);
        if (step.kind != "prefill" && step.kind != "decode")
            fail(where + ": \"kind\"", brief_json(step.kind), "\"prefill\" or \"decode\"");
        step.first_token = number_of(value, "first_token", 0, largest_count, where);
        step.token_count = number_of(value, "token_count", 0, largest_count, where);
        steps.push_back(step);
    }
    return steps;
}

// The file must be there, be a file, and be long enough for its numbers; so no later allocation outgrows the
// disk.
void check_file(const fs::path& path, std::int64_t least_bytes, const std::string& where)
{
    std::error_code error;
    if (!fs::is_regular_file(path, error))
        throw std::runtime_error(fmt::format("{}: its file {} is missing", where, path.string()));
    const auto bytes = static_cast<std::int64_t>(fs::file_size(path, error));
    if (error || bytes < least_bytes)
        throw std::runtime_error(
            fmt::format("{}: its file {} has {} bytes, too few for the shape", where, path.string(), bytes));
}

}  // namespace

std::string_view trace_values_text(TraceValues values)
{
    return values == TraceValues::all ? "all" : values == TraceValues::sample ? "sample" : "none";
}

void check_tensor_name(const std::string& who, const std::string& name)
{
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '.';
    };
    if (name.empty() || name.size() > longest_tensor_name || name.front() == '.' ||
        !std::all_of(name.begin(), name.end(), allowed))
        fail(who + ": tensor name", brief_json(name),
             fmt::format("1 to {} letters, digits, '_', '-' and '.', with no '.' in front",
                         longest_tensor_name));
}

std::vector<std::int64_t> unravel(std::int64_t position, const std::vector<std::int64_t>& shape)
{
    std::vector<std::int64_t> indices(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        indices[axis] = position % shape[axis];
        position /= shape[axis];
    }
    return indices;
}

std::int64_t TraceEntry::size() const
{
    std::int64_t size = 1;
    for (std::int64_t extent : shape)
        size *= extent;
    return size;
}

std::int64_t TraceEntry::kept() const
{
    return values == TraceValues::all ? size() : values == TraceValues::sample ? sample.count : 0;
}

Trace::Trace(const fs::path& folder) : folder_(folder)
{
    std::error_code ignored;
    if (!fs::is_directory(folder_, ignored))
        throw std::runtime_error(fmt::format("{}: no such folder; want a trace folder", folder_.string()));
    if (!fs::is_regular_file(folder_ / "trace.json", ignored))
        throw std::runtime_error(fmt::format("{}: has no trace.json, so it is no trace", folder_.string()));
    read_index();
}

void Trace::read_index()
{
    const fs::path path = folder_ / "trace.json";
    const std::string file = path.string();
    const MappedFile mapped(path);
    if (mapped.size() > largest_index)
        throw std::runtime_error(fmt::format("{}: is larger than {} bytes", file, largest_index));
    const std::string_view text = mapped.text();
    try {
        header_ =
            json::parse(text.begin(), text.end(),
                        IndexWatch(file, [&](const json& entry) { add_entry(read_entry(entry, file)); }));
    } catch (const json::exception& error) {
        throw std::runtime_error(fmt::format("{}: is not valid JSON: {}", file, terminal_text(error.what())));
    }
    if (!header_.is_object())
        fail(file, brief_json(header_), "an object");
    if (text_of(header_, "format", file) != "pictor-trace")
        fail(file + ": \"format\"", brief_json(header_["format"]), "\"pictor-trace\"");
    if (number_of(header_, "version", 0, 1000000, file) != 1)
        fail(file + ": \"version\"", brief_json(header_["version"]),
             "1, the only version this program reads");
    const json& tensors = member(header_, "tensors", file);
    if (!tensors.is_array() || !tensors.empty())  // objects have been taken out
        fail(file + ": \"tensors\"", brief_json(tensors), "a list of objects");
    header_.erase("tensors");
    steps_ = read_steps(header_, file);
    for (const TraceEntry& entry : entries_)
        if (entry.step >= static_cast<std::int64_t>(steps_.size()))
            fail(fmt::format("{}: tensor {}: \"step\"", file, entry.name), std::to_string(entry.step),
                 fmt::format("one of the {} of \"steps\"", steps_.size()));
}

void Trace::add_entry(TraceEntry entry)
{
    const std::string where = fmt::format("{}: tensor {} step {}", folder_.string(), entry.name, entry.step);
    if (!entry.file.empty())
        check_file(folder_ / entry.file, 2 * entry.kept(), where);
    if (!entry.npy.empty())
        check_file(folder_ / entry.npy, entry.size(), where);
    if (!index_.emplace(std::pair(entry.step, entry.name), entries_.size()).second)
        throw std::runtime_error(where + ": is listed twice");
    entries_.push_back(std::move(entry));
}

const TraceEntry* Trace::find(std::string_view name, std::int64_t step) const
{
    const auto found = index_.find({step, std::string(name)});
    return found == index_.end() ? nullptr : &entries_[found->second];
}

ValueStream Trace::stream(const TraceEntry& entry) const
{
    if (entry.values == TraceValues::none)
        throw std::runtime_error(fmt::format("{}: tensor {} step {}: the trace keeps only its statistics",
                                             folder_.string(), entry.name, entry.step));
    return ValueStream(folder_ / entry.file, entry);
}

std::vector<float> Trace::load_kept(const TraceEntry& entry) const
{
    ValueStream numbers = stream(entry);
    std::vector<float> values(static_cast<std::size_t>(entry.kept()));
    std::int64_t done = 0;
    while (const std::int64_t count =
               numbers.read(values.data() + done, std::max<std::int64_t>(1, entry.kept() - done)))
        done += count;
    return values;
}

TraceTensor Trace::load(const TraceEntry& entry) const
{
    return {entry.shape, load_range(entry, 0, entry.size())};
}

std::vector<float> Trace::load_range(const TraceEntry& entry, std::int64_t first, std::int64_t count) const
{
    const std::string where = fmt::format("{}: tensor {} step {}", folder_.string(), entry.name, entry.step);
    if (!entry.whole())
        throw std::runtime_error(fmt::format(
            "{}: the trace keeps {}; record it with --trace-values all", where,
            entry.values == TraceValues::sample ? "only a sample of its numbers" : "only its statistics"));
    if (first < 0 || count < 0 || first > entry.size() - count)
        throw std::runtime_error(
            fmt::format("{}: numbers {} to {} of {}", where, first, first + count, entry.size()));
    if (entry.values != TraceValues::all) {
        NpyFile npy(folder_ / entry.npy);
        if (npy.shape() != entry.shape)
            fail(fmt::format("{}: shape of {}", where, entry.npy), shape_text(npy.shape()),
                 shape_text(entry.shape));
        std::vector<float> values(static_cast<std::size_t>(count));
        npy.seek(first);
        npy.read(values.data(), count);
        return values;
    }
    if (first == 0 && count == entry.size())
        return load_kept(entry);
    ValueStream numbers = stream(entry);
    std::vector<float> values(static_cast<std::size_t>(count)), skipped(4096);
    for (std::int64_t left = first; left > 0;)
        left -= numbers.read(skipped.data(), std::min<std::int64_t>(left, 4096));
    for (std::int64_t done = 0; done < count;)
        done += numbers.read(values.data() + done, count - done);
    return values;
}

}  // namespace pictor
