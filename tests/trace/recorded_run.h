// A trace of whatever a test runs, in a folder of its own that is removed at the end.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/reference/checkpoint_files.h"
#include "tests/reference/small_model.h"
#include "trace/reading/reader.h"
#include "trace/recording/recorder.h"

namespace pictor_test {

class RecordedRun {
public:
    explicit RecordedRun(const std::function<void(pictor::TraceWriter&)>& run,
                         pictor::TraceValues values = pictor::TraceValues::all,
                         const std::vector<std::string>& only = {})
    {
        pictor::TraceOptions options;
        options.folder = folder_.path / "trace";
        options.values = values;
        options.only = only;
        pictor::TraceWriter writer(options);
        writer.describe("reference", "meta");
        writer.describe("producer", "pictor");
        writer.describe("model", nlohmann::json::object());
        writer.describe("prompt", nlohmann::json::object());
        writer.describe("images", nlohmann::json::array());
        writer.describe("generated", nlohmann::json::object());
        run(writer);
        writer.finish();
        trace_ = std::make_unique<pictor::Trace>(options.folder);
    }

    const pictor::Trace& trace() const { return *trace_; }
    Tensor tensor(const std::string& name, std::int64_t step = 0) const
    {
        const pictor::TraceEntry* entry = trace_->find(name, step);
        if (entry == nullptr)
            throw std::runtime_error(name + ": not in the trace");
        Tensor tensor(entry->shape);
        tensor.values = trace_->load(*entry).values;
        return tensor;
    }

private:
    TempFolder folder_;
    std::unique_ptr<pictor::Trace> trace_;
};

// For a step that is called with a recorder and records in step 0 of a prefill.
inline RecordedRun record_step(const std::function<void(const pictor::Recorder&)>& step)
{
    return RecordedRun([&](pictor::TraceWriter& writer) {
        writer.begin_step("prefill", 0, 1);
        step(writer.recorder());
    });
}

}  // namespace pictor_test
