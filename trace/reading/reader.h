// Opens a trace folder and reads its numbers, whole or a block at a time in bounded memory.
//
// A trace may come from anywhere, so nothing in it is believed: every error is a std::runtime_error that
// names the file, what was found and what would be right.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "trace/recording/recorder.h"
#include "trace/recording/statistics.h"

namespace pictor {

// The positions a sampled tensor keeps: start, start + stride, ..., count of them.
struct TraceSample {
    std::int64_t start = 0;
    std::int64_t stride = 1;
    std::int64_t count = 0;
};

// One tensor at one step, as trace.json lists it.
struct TraceEntry {
    std::string name;
    std::int64_t step = 0;
    std::vector<std::string> axes;  // one word per axis: "token", "head", "key"
    std::vector<std::int64_t> shape;
    std::string dtype;  // "F32", "BF16", "F16" or "I64"
    std::string file;   // relative to the folder; empty when values is none
    TraceValues values = TraceValues::all;
    TraceSample sample;  // when values is sample
    std::string npy;     // the whole tensor as .npy, relative to the folder; often empty
    TensorStatistics statistics;
    std::string source;   // "reference/text/rope.cpp:42"; may be empty
    std::string chapter;  // may be empty

    std::int64_t size() const;  // product of the shape
    std::int64_t kept() const;  // numbers in the tensor file
    bool whole() const { return values == TraceValues::all || !npy.empty(); }
};

struct TraceStep {
    std::int64_t index = 0;
    std::string kind;  // "prefill" or "decode"
    std::int64_t first_token = 0;
    std::int64_t token_count = 0;
};

// A tensor in memory.
struct TraceTensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;  // row-major; I64 tensors too (token ids fit a float exactly)
};

class ValueStream;

class Trace {
public:
    // Reads and checks trace.json. Tensor files are opened when they are asked for.
    explicit Trace(const std::filesystem::path& folder);

    const std::filesystem::path& folder() const { return folder_; }
    // trace.json without its "tensors": "reference", "model", "prompt", "images", "generated", "steps", ...
    const nlohmann::json& header() const { return header_; }
    const std::vector<TraceStep>& steps() const { return steps_; }
    // In the order of computation.
    const std::vector<TraceEntry>& entries() const { return entries_; }

    // nullptr when there is no such tensor.
    const TraceEntry* find(std::string_view name, std::int64_t step = 0) const;

    // The whole tensor. Throws when the trace does not hold all its numbers (values sample or none, and no
    // .npy).
    TraceTensor load(const TraceEntry& entry) const;
    // `count` numbers from flat position `first` on, such as one head of the probabilities. Same errors as
    // load.
    std::vector<float> load_range(const TraceEntry& entry, std::int64_t first, std::int64_t count) const;
    // What the tensor file holds: every number, or the sampled ones.
    std::vector<float> load_kept(const TraceEntry& entry) const;

    // The same numbers as load_kept, a block at a time. Throws when values is none.
    ValueStream stream(const TraceEntry& entry) const;

private:
    void read_index();
    void add_entry(TraceEntry entry);

    std::filesystem::path folder_;
    nlohmann::json header_;
    std::vector<TraceStep> steps_;
    std::vector<TraceEntry> entries_;
    std::map<std::pair<std::int64_t, std::string>, std::size_t> index_;
};

// Pulls numbers out of one tensor file. Memory stays at one buffer whatever the size of the file.
class ValueStream {
public:
    ValueStream(std::filesystem::path file, const TraceEntry& entry);
    ValueStream(ValueStream&&) noexcept;
    ~ValueStream();

    // Fills at most `capacity` numbers and returns how many; 0 when all have been read, by when the whole
    // file has been checked: right count, nothing after it, and a header that agrees with trace.json.
    std::int64_t read(float* values, std::int64_t capacity);
    // For dtype I64: exact whole numbers.
    std::int64_t read(std::int64_t* values, std::int64_t capacity);

private:
    struct State;
    std::unique_ptr<State> state_;
};

constexpr std::size_t longest_tensor_name = 200;  // file systems stop at 255 bytes

// Throws "WHO: ..." unless the name is 1 to 200 letters, digits, '_', '-' and '.', with no '.' in front.
void check_tensor_name(const std::string& who, const std::string& name);

// "all", "sample", "none".
std::string_view trace_values_text(TraceValues values);

// Row-major position -> one index per axis.
std::vector<std::int64_t> unravel(std::int64_t position, const std::vector<std::int64_t>& shape);

}  // namespace pictor
