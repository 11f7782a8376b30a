// Tensors from some file format, one after another, their numbers a block at a time: what `trace convert`
// reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "trace/reading/reader.h"

namespace pictor {

struct SourceTensor {
    std::string name;
    std::int64_t step = 0;
    std::vector<std::string> axes;  // empty: unknown
    std::vector<std::int64_t> shape;
    std::string dtype;             // of the trace: F32, BF16, F16, I64
    bool statistics_only = false;  // no numbers, only `statistics`
    TensorStatistics statistics;
};

class TensorSource {
public:
    virtual ~TensorSource() = default;
    const std::vector<SourceTensor>& tensors() const { return tensors_; }
    const std::vector<std::string>& notes() const { return notes_; }  // what was left out, and why
    std::string producer = "trace convert";

    // Hands every number of a tensor, in order, to one of the two (whole numbers for I64).
    using Floats = std::function<void(const float*, std::int64_t)>;
    using Integers = std::function<void(const std::int64_t*, std::int64_t)>;
    virtual void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) = 0;

protected:
    std::vector<SourceTensor> tensors_;
    std::vector<std::string> notes_;
};

// All throw std::runtime_error on bad files.
std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& file);
std::unique_ptr<TensorSource> open_npy_folder(const std::filesystem::path& folder);
std::unique_ptr<TensorSource> open_trace_source(const std::filesystem::path& folder);
std::unique_ptr<TensorSource> open_debugger_json(const std::filesystem::path& file);

// "003-NAME" -> step 3 and NAME; a name without a number belongs to step 0.
void split_step(const std::string& stem, SourceTensor& tensor);
// The reverse; with a single step just NAME.
std::string join_step(const SourceTensor& tensor, bool several_steps);

}  // namespace pictor
