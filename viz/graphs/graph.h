// A graph that Graphviz lays out, in this project's colours, for light pages, dark pages and grayscale print.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pictor {

// One line of a node: its first is the title.
struct LabelLine {
    std::string text;
    double size = 0;  // 0: the graph's small size
    bool bold = false;
    std::string href;
};

struct GraphNode {
    std::string id;    // letters, digits and _ only
    std::string kind;  // a class of the style sheet: data, plain, embedding, local, global, projector, self,
                       // cross, norm, head, odd
    std::vector<LabelLine> lines;
    std::string tooltip;
    std::string href;
    std::optional<std::pair<double, double>> place;  // in points, y downwards; all nodes have one, or none
};

struct GraphEdge {
    std::string from, to;
    std::string kind = "flow";  // flow, picture, kept, rope, residual
    std::string label;
    bool shapes_layout = true;  // false: drawn between ranks that others fix
    std::string attributes;     // further Graphviz attributes, such as ports
};

struct GraphGroup {
    std::string id, title, kind;
    std::vector<std::string> members;
};

struct Graph {
    std::string id = "pictor";  // begins the ids of its parts, so that several graphs can stand in one page
    std::string title;
    bool left_to_right = false;
    double title_size = 15, small_size = 11, edge_size = 10;
    double rank_gap = 0.35, node_gap = 0.25;
    std::vector<GraphNode> nodes;
    std::vector<GraphEdge> edges;
    std::vector<GraphGroup> groups;
    std::vector<std::vector<std::string>> same_rank;
    bool own_style = true;   // false: the page it stands in has the style sheet
    std::string attributes;  // further Graphviz attributes of the whole
};

// Text as it may stand inside an HTML-like label of Graphviz.
std::string graph_text(const std::string& text, std::size_t most = 120);

std::string dot_text(const Graph& graph);

// SVG as Graphviz draws it, with the style sheet in it.
std::string lay_out_graph(const Graph& graph);

// An SVG's own width and height in pixels.
struct SvgSize {
    double width = 0, height = 0;
};
SvgSize svg_size(const std::string& svg);

// The rectangle that a node's box takes in a laid-out drawing's own coordinates; none: it has no such node.
struct NodeExtent {
    double x0 = 1e9, y0 = 1e9, x1 = -1e9, y1 = -1e9;
};
std::optional<NodeExtent> node_extent(const std::string& svg, const Graph& graph, const std::string& node);

// The drawing with a line of its own led from one box to others along its left and lower edge: out at the
// left, down, and in from below, where it crosses nothing.
std::string with_line_round(const std::string& svg, const Graph& graph, const std::string& edge_kind,
                            const std::string& from, const std::vector<std::string>& to);

// The SVG without XML declaration and document type, placed in a box: for drawing several on a page.
std::string nested_svg(const std::string& svg, double x, double y, double width, double height);

// What tells the kinds of boxes apart: fill, and the line round it.
enum class Border { single, dashed, dotted, square, twice, thick };
struct KindLook {
    const char* name;
    const char* fill;
    const char* stroke;
    const char* dark_fill;  // on dark pages
    const char* dark_stroke;
    Border border;
};
extern const std::array<KindLook, 11> kind_looks;

// The same looks as pieces of SVG, for legends.
std::string legend_box(const std::string& kind, double x, double y, double width, double height);
std::string legend_line(const std::string& edge_kind, double x0, double x1, double y);
std::string graph_style_sheet();

// Links of a step: its source file and its chapter, relative to the folder the drawing is written to; empty
// when the checkout is not around.
std::string source_link(const std::string& file, const std::filesystem::path& output);
std::string chapter_link(const std::string& stem, const std::filesystem::path& output);

}  // namespace pictor
