// The diagram of the whole: both pipelines, with the true sizes of a model.
#pragma once

#include <filesystem>
#include <string>

#include "viz/graphs/graph.h"
#include "viz/graphs/model_sizes.h"

namespace pictor {

struct RunFacts;

enum class DiagramStyle { slide, article };

struct ArchitectureOptions {
    DiagramStyle style = DiagramStyle::article;
    bool unfold = false;            // every layer a node of its own
    std::filesystem::path output;   // links are relative to its folder
    const RunFacts* run = nullptr;  // the diagram of this run: its words, picture and shapes in the boxes
};

std::string architecture_drawing(const ModelSizes& sizes, const ArchitectureOptions& options);

// The text decoder as runs of equal layers. A repeat stands for `times` copies of its parts.
struct LayerRun {
    bool is_cross = false;
    std::int64_t first = 0, count = 1;   // layers of one copy
    std::int64_t times = 1, stride = 0;  // copies, and layers from one to the next
};
std::vector<std::vector<LayerRun>> fold_layers(const ModelSizes& sizes, bool unfold);

}  // namespace pictor
