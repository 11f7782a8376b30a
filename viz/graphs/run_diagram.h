// The architecture's diagram of one run: its words, its picture and its shapes in the boxes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "viz/drawing/raster.h"
#include "viz/graphs/architecture.h"
#include "viz/graphs/graph.h"
#include "viz/run.h"

namespace pictor {

struct LikelyWord {
    std::string text;
    double probability = 0;
};

// What a run puts into the boxes.
struct RunFacts {
    const Run& run;
    std::vector<LikelyWord> first_word;  // the likeliest, best first; may be empty
    Raster canvas;                       // the picture on its tiles, as canvas_of() draws it; may be empty
};

// The sizes of the model that made a trace. Throws when trace.json does not say them.
ModelSizes sizes_of_run(const Trace& trace);

// The picture as it lies on its tiles, the padding in gray, lines between the tiles.
Raster canvas_of(const Raster& picture, const PictureGeometry& geometry, int most_width, int most_height);

// Replaces the lines of the boxes, but for titles and parameters, by what the run put through them.
void put_run_into(Graph& graph, const ModelSizes& sizes, const RunFacts& facts, bool slide);

// The laid-out drawing with the picture put into its box.
std::string with_canvas(const std::string& svg, const Graph& graph, const RunFacts& facts);

}  // namespace pictor
