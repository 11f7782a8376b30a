// `viz heatmap`: options and what they draw.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace pictor {

struct HeatmapOptions {
    std::filesystem::path trace;
    std::int64_t layer = -1;
    std::string layer_text;          // "vision.N", "global.N" for the vision encoder's own attention
    std::string head = "mean";
    std::string token;
    std::int64_t image = -1;
    std::filesystem::path picture;   // in place of the one the trace names
    std::string weight = "attention";
    std::filesystem::path minus;     // another trace: draw the difference
    bool all = false;
    bool smooth = false;
    std::filesystem::path output;
};

// Draws and returns the files written.
std::vector<std::filesystem::path> run_heatmap(const HeatmapOptions& options);

}  // namespace pictor
