// The boxes and arrows of the architecture diagram.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "viz/graphs/architecture.h"
#include "viz/graphs/graph.h"

namespace pictor {

// Builds the nodes of one diagram: large type and few words for a slide, all the shapes for an article.
struct Builder {
    const ModelSizes& sizes;
    const ArchitectureOptions& options;
    ParameterCounts parameters;
    Graph graph;
    bool slide = false;

    void node(const std::string& id, const std::string& kind, const std::string& title,
              const std::vector<std::string>& lines, std::int64_t parameter_count, const std::string& source,
              const std::string& chapter)
    {
        GraphNode node;
        node.id = id;
        node.kind = kind;
        node.lines.push_back({title, 0, true, ""});
        for (const std::string& line : lines)
            if (!line.empty())
                node.lines.push_back({line, 0, false, ""});
        if (parameter_count > 0)
            node.lines.push_back(
                {count_text(parameter_count) + " parameters", slide ? 0 : graph.small_size, false, ""});
        node.href = source_link(source, options.output);
        const std::string chapter_target = chapter_link(chapter, options.output);
        if (!chapter_target.empty() && slide)
            node.lines[0].href = chapter_target;  // no room for a line more: the title leads to it
        else if (!chapter_target.empty())
            node.lines.push_back({"chapter", graph.small_size - 1, false, chapter_target});
        node.tooltip = source.empty() ? title : title + ": " + source;
        graph.nodes.push_back(std::move(node));
    }

    void edge(const std::string& from, const std::string& to, const std::string& kind = "flow",
              const std::string& label = "", bool shapes_layout = true, const std::string& attributes = "")
    {
        graph.edges.push_back({from, to, kind, label, shapes_layout, attributes});
    }

    std::string detail(const std::string& text) const { return slide ? "" : text; }
};

std::string list_text(const std::vector<std::int64_t>& numbers);  // "3, 8, 13, ..., 38"

// From the picture to the projector, and from the prompt to the next word. The picture side comes first.
void add_picture_side(Builder& b);
void add_text_side(Builder& b);

}  // namespace pictor
