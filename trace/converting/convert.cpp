#include "trace/converting/convert.h"

#include <algorithm>
#include <map>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/little_endian.h"
#include "base/npy.h"
#include "base/output_file.h"
#include "base/output_folder.h"
#include "base/safetensors_writer.h"
#include "trace/converting/tensor_source.h"
#include "trace/recording/glob.h"
#include "trace/recording/recorder.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace pictor {
namespace {

std::unique_ptr<TensorSource> open_source(const fs::path& in)
{
    std::error_code ignored;
    if (fs::is_directory(in, ignored))
        return fs::exists(in / "trace.json") ? open_trace_source(in) : open_npy_folder(in);
    if (!fs::is_regular_file(in, ignored))
        throw std::runtime_error(fmt::format("{}: {}", in.string(),
                                             fs::exists(in, ignored)
                                                 ? "a pipe or a device; wanted a regular file or a folder"
                                                 : "no such file or folder"));
    if (in.extension() == ".safetensors")
        return open_safetensors(in);
    if (in.extension() == ".json")
        return open_debugger_json(in);
    throw std::runtime_error(fmt::format(
        "{}: want a .safetensors file, a debugger's .json file, a folder of .npy files or a trace",
        in.string()));
}

bool is_wanted(const std::string& name, const std::vector<std::string>& only)
{
    return only.empty() || std::any_of(only.begin(), only.end(),
                                       [&](const std::string& glob) { return glob_matches(glob, name); });
}

std::vector<const SourceTensor*> chosen_tensors(const TensorSource& source, const fs::path& in,
                                                const ConvertOptions& options)
{
    std::vector<const SourceTensor*> chosen;
    for (const SourceTensor& tensor : source.tensors())
        if (is_wanted(tensor.name, options.only))
            chosen.push_back(&tensor);
    if (chosen.empty())
        throw std::runtime_error(fmt::format("{}: no tensor to convert{}", in.string(),
                                             options.only.empty() ? "" : "; --only matches none"));
    std::stable_sort(chosen.begin(), chosen.end(),
                     [](const SourceTensor* a, const SourceTensor* b) { return a->step < b->step; });
    return chosen;
}

SourceTensor squeezed(SourceTensor tensor, bool squeeze)
{
    if (!tensor.axes.empty() && tensor.axes.size() != tensor.shape.size())
        tensor.axes.clear();
    std::size_t drop = 0;
    while (squeeze && drop < tensor.shape.size() && tensor.shape[drop] == 1)
        ++drop;
    tensor.shape.erase(tensor.shape.begin(), tensor.shape.begin() + static_cast<std::ptrdiff_t>(drop));
    if (tensor.axes.empty())
        for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis)
            tensor.axes.push_back(fmt::format("axis{}", axis));
    else
        tensor.axes.erase(tensor.axes.begin(), tensor.axes.begin() + static_cast<std::ptrdiff_t>(drop));
    return tensor;
}

void write_trace(TensorSource& source, const std::vector<const SourceTensor*>& tensors, const fs::path& out,
                 const ConvertOptions& options)
{
    if (tensors.back()->step > 1000000)
        throw std::runtime_error(fmt::format("tensor {}: step {}; want at most 1000000", tensors.back()->name,
                                             tensors.back()->step));
    TraceOptions to;
    to.folder = out;
    to.force = options.force;
    to.values = TraceValues::all;
    TraceWriter writer(to);
    writer.describe("producer", source.producer);
    std::int64_t steps = 0;
    for (const SourceTensor* each : tensors) {
        for (; steps <= each->step; ++steps)
            writer.begin_step(steps == 0 ? "prefill" : "decode", 0,
                              0);  // which tokens these were, no file says
        const SourceTensor tensor = squeezed(*each, options.squeeze);
        const std::string axes = fmt::format("{}", fmt::join(tensor.axes, " "));
        if (tensor.statistics_only) {
            writer.only_statistics(tensor.name, axes, tensor.shape, tensor.dtype, tensor.statistics);
            continue;
        }
        RecordedRows rows = writer.begin(tensor.name, axes, tensor.shape, tensor.dtype, "", "");
        source.read(
            *each, [&](const float* values, std::int64_t count) { rows.append(values, count); },
            [&](const std::int64_t* values, std::int64_t count) { rows.append(values, count); });
        rows.finish();
    }
    writer.finish();
}

void refuse_statistics_only(const SourceTensor& tensor)
{
    if (tensor.statistics_only)
        throw std::runtime_error(fmt::format(
            "tensor {}: the input has only its statistics; want --only without it, or a trace as output",
            tensor.name));
}

// Numbers as .safetensors and .npy want them: F32 (also for what was 16 bits) or I64.
void write_safetensors(TensorSource& source, const std::vector<const SourceTensor*>& tensors,
                       const fs::path& out, const ConvertOptions& options)
{
    const bool several = tensors.back()->step > 0;
    std::map<std::string, std::string> metadata{{"producer", source.producer}};
    std::vector<TensorHead> heads;
    for (const SourceTensor* each : tensors) {
        refuse_statistics_only(*each);
        const SourceTensor tensor = squeezed(*each, options.squeeze);
        heads.push_back({join_step(tensor, several), tensor.dtype == "I64", tensor.shape});
        metadata["axes " + heads.back().name] = fmt::format("{}", fmt::join(tensor.axes, " "));
    }
    SafetensorsWriter writer(out, heads, metadata,
                             options.force ? Overwrite::any_file : Overwrite::same_kind);
    for (const SourceTensor* tensor : tensors)
        source.read(
            *tensor, [&](const float* values, std::int64_t count) { writer.append(values, count); },
            [&](const std::int64_t* values, std::int64_t count) { writer.append(values, count); });
    writer.finish();
}

template <typename Number> std::string_view bytes_of(const Number* values, std::int64_t count)
{
    return {reinterpret_cast<const char*>(values), static_cast<std::size_t>(count) * sizeof(Number)};
}

void write_npy_folder(TensorSource& source, const std::vector<const SourceTensor*>& tensors,
                      const fs::path& out, const ConvertOptions& options)
{
    const FolderKind npy_folder{"folder of .npy files", "", [](const fs::path&, const std::string& file) {
                                    return file.ends_with(".npy") && file.find('/') == std::string::npos;
                                }};
    OutputFolder output(out, npy_folder, options.force);
    const bool several = tensors.back()->step > 0;
    for (const SourceTensor* each : tensors) {
        refuse_statistics_only(*each);
        const SourceTensor tensor = squeezed(*each, options.squeeze);
        const fs::path path = output.path() / (join_step(tensor, several) + ".npy");
        if (fs::exists(path))
            throw std::runtime_error(fmt::format("tensor {}: comes twice", tensor.name));
        OutputFile file(path);
        file.write(npy_header(tensor.shape, tensor.dtype == "I64"));
        source.read(
            *each, [&](const float* values, std::int64_t count) { file.write(bytes_of(values, count)); },
            [&](const std::int64_t* values, std::int64_t count) { file.write(bytes_of(values, count)); });
        file.close();
    }
    output.move_into_place();
}

}  // namespace

std::vector<std::string> convert(const fs::path& in, const fs::path& out, const ConvertOptions& options)
{
    try {
        const std::unique_ptr<TensorSource> source = open_source(in);
        const std::vector<const SourceTensor*> tensors = chosen_tensors(*source, in, options);
        const bool from_trace = fs::is_directory(in) && fs::exists(in / "trace.json");
        const std::string to = !options.to.empty()                 ? options.to
                               : out.extension() == ".safetensors" ? "safetensors"
                               : from_trace                        ? "npy"
                                                                   : "trace";
        if (to == "safetensors")
            write_safetensors(*source, tensors, out, options);
        else if (to == "npy")
            write_npy_folder(*source, tensors, out, options);
        else
            write_trace(*source, tensors, out, options);
        return source->notes();
    } catch (const fs::filesystem_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", error.path1().string(), error.code().message()));
    }
}

}  // namespace pictor
