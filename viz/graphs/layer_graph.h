// One layer as it ran: every operation a node with shape and statistics, edges with their axes.
#pragma once

#include <filesystem>
#include <string>

#include "trace/reading/reader.h"
#include "viz/graphs/architecture.h"
#include "viz/graphs/graph.h"

namespace pictor {

// Which layer: "3" or "text.3", "vision.2", "global.0".
struct LayerChoice {
    enum class Kind { text_self, text_cross, vision_local, vision_global } kind = Kind::text_self;
    std::int64_t index = 0;
    std::string prefix;  // of its tensors' names
    std::string title;
};

// Throws with what would be right when the text is no layer, or the trace has none of its tensors.
LayerChoice choose_layer_graph(const Trace& trace, const std::string& text);

// Every layer the trace holds, as `choose_layer_graph` takes them.
std::vector<std::string> layers_in(const Trace& trace);

// A slide says how each tensor is made, once, in three columns: what attention reads, attention, and the MLP.
Graph layer_graph(const Trace& trace, const LayerChoice& layer, std::int64_t step,
                  const std::filesystem::path& output, DiagramStyle style = DiagramStyle::article);
std::string layer_drawing(const Trace& trace, const LayerChoice& layer, std::int64_t step,
                          const std::filesystem::path& output, DiagramStyle style = DiagramStyle::article);

}  // namespace pictor
