// The recorder: the one header of trace/ that the model sees.
//
// A layer calls it between two steps:   record("q_proj", "token head channel", query.view({...}));
// With no writer behind it the call returns at once, and the model computes the same bits either way.
// The format it writes is described in trace/README.md; the contract is trace/schema.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/shape.h"
#include "trace/recording/statistics.h"

namespace pictor {

// Where the model called the recorder. (std::source_location says the same, but clang 14 cannot compile it.)
struct SourcePlace {
    const char* file;
    int line;
    static constexpr SourcePlace caller(const char* file = __builtin_FILE(), int line = __builtin_LINE())
    {
        return {file, line};
    }
};

enum class TraceValues { all, sample, none };

struct TraceOptions {
    std::filesystem::path folder;
    std::vector<std::string> only;  // globs over whole tensor names (* and ?); empty: every tensor
    TraceValues values =
        TraceValues::sample;  // sample: tensors of more than sample_above values keep a fixed stride
    std::int64_t sample_above = 262144;
    bool npy = false;    // the whole tensor as .npy too
    bool force = false;  // replace an existing folder, once the new one is complete
};

// The distance between two kept numbers of a tensor of `size`, of which about `at_most` are kept. It shares
// no factor with the size, so the kept positions wander over every axis; a stride of, say, 64 would see a
// single channel of a [.., 64] tensor.
std::int64_t sample_stride(std::int64_t size, std::int64_t at_most);

class TraceWriter;
class RecordedRows;

class Recorder {
public:
    Recorder() = default;  // records nothing
    Recorder(TraceWriter* writer, std::string prefix);

    // A recorder whose names start with this one's prefix, then `name`, then a dot.
    Recorder scope(std::string_view name) const;
    Recorder scope(std::string_view name, std::int64_t index) const;  // "layers", 3 -> "layers.3."

    // Whether a tensor of this name would be written.
    bool wants(std::string_view name) const;

    // Writes one tensor. axes: one word per axis, separated by spaces. The caller's file and line become
    // `source`.
    void operator()(std::string_view name, std::string_view axes, const TensorView& tensor,
                    SourcePlace where = SourcePlace::caller()) const;

    // The same for whole numbers (token ids, masks): written as dtype I64.
    void integers(std::string_view name, std::string_view axes, const std::vector<std::int64_t>& values,
                  const std::vector<std::int64_t>& shape, SourcePlace where = SourcePlace::caller()) const;

    // For a tensor that never stands in memory whole: append its numbers in row-major order, a block at a
    // time. A block's rows may go to several such tensors in turn (scores, masked_scores, probs). Destroying
    // it completes the tensor; too few or too many numbers is an error.
    RecordedRows begin(std::string_view name, std::string_view axes, const std::vector<std::int64_t>& shape,
                       SourcePlace where = SourcePlace::caller()) const;

private:
    TraceWriter* writer_ = nullptr;
    std::string prefix_;
};

class RecordedRows {
public:
    RecordedRows();  // records nothing
    RecordedRows(RecordedRows&&) noexcept;
    RecordedRows& operator=(RecordedRows&&) noexcept;
    ~RecordedRows();
    explicit operator bool() const;  // whether anything is written
    std::int64_t size() const;       // numbers in the whole tensor; 0 when nothing is written
    void append(const float* values, std::int64_t count);
    void append(const std::int64_t* values, std::int64_t count);  // dtype I64
    void finish();  // completes the tensor; throws when the count is wrong or the disk is full

private:
    friend class TraceWriter;
    struct State;
    std::unique_ptr<State> state_;
};

// Writes a trace into a temporary folder beside options.folder and renames it when finished.
class TraceWriter {
public:
    // Throws std::runtime_error when the folder exists (without force) or cannot be written.
    explicit TraceWriter(TraceOptions options);
    ~TraceWriter();  // unfinished: removes the temporary folder
    TraceWriter(const TraceWriter&) = delete;

    // Top-level fields of trace.json: "reference", "producer", "model", "prompt", "images", "generated". The
    // last call per key wins.
    void describe(const std::string& key, const nlohmann::json& value);

    // Tensors recorded from here on belong to this step. kind: "prefill" or "decode".
    void begin_step(std::string_view kind, std::int64_t first_token, std::int64_t token_count);

    Recorder recorder();

    // What the recorder calls, for programs that copy tensors from elsewhere: the whole name, any dtype of
    // the format, and a source and chapter that may be empty. A tensor that `only` leaves out yields rows
    // that record nothing.
    RecordedRows begin(const std::string& name, std::string_view axes, const std::vector<std::int64_t>& shape,
                       const std::string& dtype, const std::string& source, const std::string& chapter);

    // A tensor of which only the statistics are known.
    void only_statistics(const std::string& name, std::string_view axes,
                         const std::vector<std::int64_t>& shape, const std::string& dtype,
                         const TensorStatistics& statistics);

    // The globs of options.only that have matched no tensor so far: probably misspelt.
    std::vector<std::string> unmatched() const;

    void finish();  // writes trace.json and renames the folder into place

private:
    friend class Recorder;
    friend class RecordedRows;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace pictor
