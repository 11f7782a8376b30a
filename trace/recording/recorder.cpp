// Writes a trace (trace/README.md). Numbers go straight to disk; only the list of tensors stays in memory.
#include "trace/recording/recorder.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/npy.h"
#include "trace/reading/reader.h"
#include "trace/recording/entry.h"
#include "trace/recording/glob.h"
#include "trace/recording/new_trace_folder.h"
#include "trace/recording/writer_state.h"

namespace pictor {
namespace {

constexpr std::int64_t sampled_values_per_line = 16;

}  // namespace

std::int64_t sample_stride(std::int64_t size, std::int64_t at_most)
{
    std::int64_t stride = (size + at_most - 1) / at_most;
    while (std::gcd(stride, size) != 1)
        ++stride;
    return stride;
}

TraceWriter::State::State(TraceOptions o)
    : options(std::move(o)), folder(options.folder, trace_folder_kind(), options.force),
      matched(options.only.size())
{
    folder.make_subfolder("tensors");
}

bool TraceWriter::State::wants(const std::string& name) const
{
    return options.only.empty() ||
           std::any_of(options.only.begin(), options.only.end(),
                       [&](const std::string& glob) { return glob_matches(glob, name); });
}

void TraceWriter::State::note_matches(const std::string& name)
{
    for (std::size_t glob = 0; glob < options.only.size(); ++glob)
        if (glob_matches(options.only[glob], name))
            matched[glob] = true;
}

Recorder::Recorder(TraceWriter* writer, std::string prefix) : writer_(writer), prefix_(std::move(prefix)) {}

Recorder Recorder::scope(std::string_view name) const
{
    return writer_ ? Recorder(writer_, fmt::format("{}{}.", prefix_, name)) : Recorder();
}

Recorder Recorder::scope(std::string_view name, std::int64_t index) const
{
    return writer_ ? Recorder(writer_, fmt::format("{}{}.{}.", prefix_, name, index)) : Recorder();
}

bool Recorder::wants(std::string_view name) const
{
    return writer_ && writer_->state_->wants(fmt::format("{}{}", prefix_, name));
}

void Recorder::operator()(std::string_view name, std::string_view axes, const TensorView& tensor,
                          SourcePlace where) const
{
    RecordedRows rows = begin(name, axes, tensor.shape, where);
    if (!rows)
        return;
    rows.append(tensor.values, rows.size());
    rows.finish();
}

void Recorder::integers(std::string_view name, std::string_view axes, const std::vector<std::int64_t>& values,
                        const std::vector<std::int64_t>& shape, SourcePlace where) const
{
    if (!writer_)
        return;
    const std::string file = path_in_repository(where.file);
    RecordedRows rows = writer_->begin(fmt::format("{}{}", prefix_, name), axes, shape, "I64",
                                       fmt::format("{}:{}", file, where.line), chapter_of(file));
    rows.append(values.data(), static_cast<std::int64_t>(values.size()));
    rows.finish();
}

RecordedRows Recorder::begin(std::string_view name, std::string_view axes,
                             const std::vector<std::int64_t>& shape, SourcePlace where) const
{
    if (!writer_)
        return {};
    const std::string file = path_in_repository(where.file);
    return writer_->begin(fmt::format("{}{}", prefix_, name), axes, shape, "F32",
                          fmt::format("{}:{}", file, where.line), chapter_of(file));
}

TraceWriter::TraceWriter(TraceOptions options)
{
    if (options.sample_above < 1)
        throw std::runtime_error(
            fmt::format("recorder: sample_above is {}; want at least 1", options.sample_above));
    state_ = std::make_unique<State>(std::move(options));
    state_->description["producer"] = "\"pictor\"";
}

TraceWriter::~TraceWriter() = default;

void TraceWriter::describe(const std::string& key, const nlohmann::json& value)
{
    static const std::set<std::string> keys{"reference", "producer", "model",
                                            "prompt",    "images",   "generated"};
    if (!keys.count(key))
        throw std::runtime_error(fmt::format("recorder: '{}' is no field of trace.json; want one of {}", key,
                                             fmt::join(keys, ", ")));
    state_->description[key] = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void TraceWriter::begin_step(std::string_view kind, std::int64_t first_token, std::int64_t token_count)
{
    if (kind != "prefill" && kind != "decode")
        throw std::runtime_error(
            fmt::format("recorder: a step is \"prefill\" or \"decode\", got \"{}\"", kind));
    state_->steps.push_back(
        fmt::format(R"({{"index": {}, "kind": "{}", "first_token": {}, "token_count": {}}})",
                    state_->steps.size(), kind, first_token, token_count));
    state_->names_of_step.clear();
}

Recorder TraceWriter::recorder() { return Recorder(this, ""); }

RecordedRows TraceWriter::begin(const std::string& name, std::string_view axes,
                                const std::vector<std::int64_t>& shape, const std::string& dtype,
                                const std::string& source, const std::string& chapter)
{
    State& writer = *state_;
    writer.note_matches(name);
    if (!writer.wants(name))
        return {};
    const std::vector<std::string> words = split_words(axes);
    writer.check_new_tensor(name, words, shape);

    auto state = std::make_unique<RecordedRows::State>();
    RecordedRows::State& tensor = *state;
    tensor.writer = &writer;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.size = checked_size("recorded tensor " + name, shape);
    const bool none = writer.options.values == TraceValues::none;
    const bool sampled =
        writer.options.values == TraceValues::sample && tensor.size > writer.options.sample_above;
    tensor.stride = sampled ? sample_stride(tensor.size, writer.options.sample_above) : 1;
    tensor.per_line = sampled         ? sampled_values_per_line
                      : shape.empty() ? 1
                                      : std::max<std::int64_t>(1, shape.back());

    const std::size_t step = writer.steps.size() - 1;
    const std::string stem = fmt::format("tensors/{:03}-{}", step, name);
    const std::string head = head_json(name, step, words, shape, dtype);
    const std::string sample =
        sampled ? fmt::format(R"(, "sample": {{"start": 0, "stride": {}, "count": {}}})", tensor.stride,
                              (tensor.size + tensor.stride - 1) / tensor.stride)
                : "";
    if (!none) {
        tensor.file.emplace(writer.folder.path() / (stem + ".json"));
        tensor.file->write(fmt::format("{{{}{}, \"values\": [\n", head, sample));
    }
    if (writer.options.npy) {
        tensor.npy.emplace(writer.folder.path() / (stem + ".npy"));
        tensor.npy->write(npy_header(shape, dtype == "I64"));
    }
    tensor.entry_start = fmt::format(R"({{{}, {}"values": "{}"{}, )", head,
                                     none ? "" : fmt::format(R"("file": "{}.json", )", stem),
                                     none      ? "none"
                                     : sampled ? "sample"
                                               : "all",
                                     sample);
    tensor.entry_end = (source.empty() ? "" : ", \"source\": " + json_string(source)) +
                       (chapter.empty() ? "" : ", \"chapter\": " + json_string(chapter)) +
                       (writer.options.npy ? fmt::format(", \"npy\": \"{}.npy\"", stem) : "") + "}";
    tensor.entry = writer.entries.size();
    writer.entries.emplace_back();
    ++writer.open_tensors;
    RecordedRows rows;
    rows.state_ = std::move(state);  // only now: rows complete their tensor when an error destroys them
    return rows;
}

void TraceWriter::only_statistics(const std::string& name, std::string_view axes,
                                  const std::vector<std::int64_t>& shape, const std::string& dtype,
                                  const TensorStatistics& statistics)
{
    const std::vector<std::string> words = split_words(axes);
    checked_size("recorded tensor " + name, shape);
    state_->check_new_tensor(name, words, shape);
    state_->entries.push_back(fmt::format(R"({{{}, "values": "none", "statistics": {}}})",
                                          head_json(name, state_->steps.size() - 1, words, shape, dtype),
                                          statistics_json(statistics)));
}

std::vector<std::string> TraceWriter::unmatched() const
{
    std::vector<std::string> globs;
    for (std::size_t glob = 0; glob < state_->matched.size(); ++glob)
        if (!state_->matched[glob])
            globs.push_back(state_->options.only[glob]);
    return globs;
}

void TraceWriter::State::check_new_tensor(const std::string& name, const std::vector<std::string>& axes,
                                          const std::vector<std::int64_t>& shape)
{
    check_tensor_name("recorder", name);
    if (axes.size() != shape.size())
        throw std::runtime_error(
            fmt::format("recorded tensor {}: axes '{}' for shape [{}]; want one word per axis", name,
                        fmt::join(axes, " "), fmt::join(shape, ", ")));
    if (steps.empty())
        throw std::runtime_error(fmt::format("recorded tensor {}: comes before begin_step", name));
    if (!names_of_step.insert(name).second)
        throw std::runtime_error(
            fmt::format("recorded tensor {}: appears twice in step {}", name, steps.size() - 1));
}

void TraceWriter::State::write_index() const
{
    OutputFile file(folder.path() / "trace.json");
    file.write("{\n\"format\": \"pictor-trace\",\n\"version\": 1,\n");
    for (const char* key : {"reference", "producer", "model", "prompt", "images", "generated"})
        if (const auto found = description.find(key); found != description.end())
            file.write(fmt::format("\"{}\": {},\n", key, found->second));
    file.write(fmt::format("\"steps\": [\n{}\n],\n\"tensors\": [", fmt::join(steps, ",\n")));
    for (std::size_t i = 0; i < entries.size(); ++i) {
        file.write(i == 0 ? "\n" : ",\n");
        file.write(entries[i]);
    }
    file.write("\n]\n}\n");
    file.close();
}

void TraceWriter::finish()
{
    State& writer = *state_;
    if (writer.finished)
        return;
    if (!writer.failure.empty())
        throw std::runtime_error(writer.failure);
    if (writer.open_tensors != 0)
        throw std::runtime_error(
            fmt::format("trace folder {}: finished while {} tensors are still being written",
                        writer.options.folder.string(), writer.open_tensors));
    writer.write_index();
    writer.folder.move_into_place();
    writer.finished = true;
}

}  // namespace pictor
