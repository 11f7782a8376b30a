// What stands behind TraceWriter and RecordedRows; for the sources of this room alone.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "base/output_folder.h"
#include "trace/recording/number_text.h"
#include "trace/recording/recorder.h"
#include "trace/recording/statistics.h"

namespace pictor {

struct TraceWriter::State {
    TraceOptions options;
    OutputFolder folder;
    std::map<std::string, std::string> description;  // key -> JSON text
    std::vector<std::string> steps;                  // JSON text of each
    std::vector<std::string> entries;                // JSON text of each, in the order of begin()
    std::set<std::string> names_of_step;
    std::vector<bool> matched;  // per glob of options.only
    NumberWriter numbers;
    std::int64_t open_tensors = 0;
    std::string failure;  // what went wrong where nothing could be thrown
    bool finished = false;

    explicit State(TraceOptions o);
    bool wants(const std::string& name) const;
    void note_matches(const std::string& name);
    void check_new_tensor(const std::string& name, const std::vector<std::string>& axes,
                          const std::vector<std::int64_t>& shape);
    void write_index() const;
};

// One tensor on its way to the disk.
struct RecordedRows::State {
    TraceWriter::State* writer = nullptr;
    std::size_t entry = 0;
    std::string name, dtype, entry_start, entry_end;
    std::int64_t size = 0, position = 0;     // numbers of the tensor, and how many have come
    std::int64_t stride = 1, next_kept = 0;  // every stride-th number goes into the file
    std::int64_t per_line = 1, kept_so_far = 0;
    StatisticsGatherer statistics;
    std::optional<OutputFile> file, npy;

    template <typename Number> void append(const Number* values, std::int64_t count);
    void finish();
};

}  // namespace pictor
