// The report: one HTML file that shows a run, offline and with nothing beside it.
#pragma once

#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "viz/run.h"

namespace pictor {

struct ReportOptions {
    std::filesystem::path output;
    std::filesystem::path picture;    // in place of the one the trace names (the first)
    std::filesystem::path tokenizer;  // tokenizer.json, for words the run did not use; may be missing
    bool layer_graphs = true;
    std::int64_t attention_bytes = 3000000;  // what the maps may take
    std::int64_t graph_bytes = 2000000;
    std::int64_t number_bytes = 1000000;
    std::int64_t most_tensors = 12000;
};

std::string report_page(const Run& run, const ReportOptions& options);

// The data of the page; `left_out` in it lists in words what did not fit.
nlohmann::ordered_json report_data(const Run& run, const ReportOptions& options);

// id -> text from a tokenizer.json (byte-level BPE); empty where the file is missing or holds something else.
std::vector<std::string> read_vocabulary(const std::filesystem::path& tokenizer);

// The page's fixed parts.
extern const char* const report_style;
extern const char* const report_body;
extern const char* const report_script;

}  // namespace pictor
