// `viz heatmap`: options and what they draw.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace CLI {
class App;
}

#include "base/output_file.h"

namespace pictor {

struct HeatmapOptions {
    std::filesystem::path trace;
    std::string layer;  // a number; vision.N or global.N for the vision encoder's own attention; empty: the
                        // last cross layer
    std::string head = "mean";
    std::string token;
    std::int64_t image = -1;
    std::filesystem::path picture;  // in place of the one the trace names
    std::string weight = "attention";
    std::filesystem::path minus;  // another trace: draw the difference
    std::string patch;            // "ROW,COLUMN" with vision.N or global.N: the patch that looks
    bool all = false;             // three contact sheets
    std::string sheet;            // heads, layers or answer: one of them
    std::string scale = "sheet";  // of the sheet of heads: one for all, or "head", one for each
    bool smooth = false;
    Overwrite overwrite = Overwrite::same_kind;  // what may be there already
    bool terminal = false;                       // drawn on standard output, in colour or letters
    std::filesystem::path output;
};

// Draws and returns the files written.
std::vector<std::filesystem::path> run_heatmap(const HeatmapOptions& options);

}  // namespace pictor
