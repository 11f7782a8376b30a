#include "viz/graph.h"

#include <array>
#include <algorithm>
#include <cstdlib>
#include <map>
#include <regex>
#include <stdexcept>

#include <fmt/format.h>

#include "viz/output.h"
#include "viz/svg.h"

namespace pictor {
namespace {

struct Kind {
    const char* name;
    const char* fill;
    const char* stroke;
    const char* dark_fill;
    const char* dark_stroke;
    double border;   // borders carry the kinds into grayscale print
    const char* style;
};

// Fills differ in lightness too: cross-attention is the darkest of the text side, global of the vision side.
constexpr std::array<Kind, 11> kinds{{
    {"data", "#f1f3f7", "#7c8798", "#2a303c", "#8f9bb0", 1.0, "filled,rounded,dashed"},
    {"plain", "#ffffff", "#7c8798", "#20252f", "#8f9bb0", 1.0, "filled,rounded"},
    {"embedding", "#e4f1de", "#4d8539", "#25351f", "#86c26f", 1.2, "filled,rounded"},
    {"local", "#deebf8", "#2f6ca8", "#1c2f43", "#74aee6", 1.2, "filled,rounded"},
    {"global", "#b9d5f0", "#1c4c82", "#1d4065", "#9ccbf7", 2.4, "filled,rounded"},
    {"projector", "#e5def4", "#6546a3", "#33284a", "#b59cf0", 1.6, "filled,rounded"},
    {"self", "#fdebd8", "#bb6a22", "#3d2b19", "#eaa765", 1.2, "filled,rounded"},
    {"cross", "#f3b9a0", "#a5361a", "#5f2616", "#ff9a78", 2.6, "filled,rounded"},
    {"norm", "#f7f7f2", "#8b8b7a", "#2b2b26", "#a8a894", 1.0, "filled,rounded"},
    {"head", "#f9efc6", "#957711", "#3c3414", "#dcbd52", 1.2, "filled,rounded"},
    {"odd", "#ffd9df", "#c4002f", "#5a1020", "#ff7d95", 3.0, "filled,rounded"},
}};

const Kind& kind_of(const std::string& name)
{
    for (const Kind& kind : kinds)
        if (name == kind.name)
            return kind;
    return kinds[1];
}

struct EdgeKind {
    const char* name;
    const char* colour;
    const char* dark;
    const char* style;
    double width;
};

constexpr std::array<EdgeKind, 5> edge_kinds{{
    {"flow", "#4a5363", "#aab4c5", "solid", 1.3},
    {"picture", "#6546a3", "#b59cf0", "solid", 2.2},
    {"kept", "#2f6ca8", "#74aee6", "dashed", 1.5},
    {"rope", "#4d8539", "#86c26f", "dotted", 1.8},
    {"residual", "#8b93a3", "#7d8798", "solid", 2.6},
}};

const EdgeKind& edge_kind_of(const std::string& name)
{
    for (const EdgeKind& kind : edge_kinds)
        if (name == kind.name)
            return kind;
    return edge_kinds[0];
}

std::string with_backslashes(const std::string& text, const char* backslash)
{
    std::string result;
    for (const char c : text)
        result += c == '\\' ? std::string(backslash) : std::string(1, c);
    return result;
}

// Tooltips go through Graphviz's own escapes twice.
std::string quoted(const std::string& text)
{
    return "\"" + with_backslashes(escape_markup(visible_text(text, 300)), "&#92;&#92;&#92;&#92;") + "\"";
}

std::string html_label(const GraphNode& node, const Graph& graph)
{
    std::string rows;
    for (std::size_t i = 0; i < node.lines.size(); ++i) {
        const LabelLine& line = node.lines[i];
        const double size = line.size > 0 ? line.size : i == 0 ? graph.title_size : graph.small_size;
        const bool bold = line.bold || i == 0;
        const std::string words = bold ? "<B>" + graph_text(line.text) + "</B>" : graph_text(line.text);
        const std::string link = line.href.empty() ? "" : fmt::format(" HREF=\"{}\"", escape_markup(line.href));
        rows += fmt::format("<TR><TD{}><FONT POINT-SIZE=\"{}\">{}</FONT></TD></TR>", link, size, words.empty() ? " " : words);
    }
    return "<<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"1\">" + rows + "</TABLE>>";
}

std::string node_text(const GraphNode& node, const Graph& graph)
{
    const Kind& kind = kind_of(node.kind);
    std::string text = fmt::format("  {0} [id=\"{1}_{0}\", label={2}, class=\"{3}\", style=\"{4}\", fillcolor=\"{5}\", color=\"{6}\", penwidth={7}", node.id,
                                   graph.id, html_label(node, graph), kind.name, kind.style, kind.fill, kind.stroke, kind.border);
    if (node.place) text += fmt::format(", pos=\"{},{}\"", node.place->first, -node.place->second);
    if (!node.tooltip.empty()) text += ", tooltip=" + quoted(node.tooltip);
    if (!node.href.empty()) text += ", href=" + quoted(node.href) + ", target=\"_top\"";
    return text + "];\n";
}

std::string edge_text(const GraphEdge& edge, const std::string& id)
{
    const EdgeKind& kind = edge_kind_of(edge.kind);
    std::string text = fmt::format("  {} -> {} [id=\"{}\", class=\"{}\", color=\"{}\", style=\"{}\", penwidth={}", edge.from, edge.to, id, kind.name, kind.colour, kind.style, kind.width);
    if (!edge.label.empty()) text += fmt::format(", label=<<TABLE BORDER=\"0\" CELLPADDING=\"5\"><TR><TD><FONT COLOR=\"{}\">{}</FONT></TD></TR></TABLE>>", kind.colour, graph_text(edge.label));
    if (!edge.shapes_layout) text += ", constraint=false";
    if (!edge.attributes.empty()) text += ", " + edge.attributes;
    return text + "];\n";
}

// The checkout: the folder with reference/ and chapters/ from here upwards.
std::filesystem::path checkout()
{
    std::error_code ignored;
    for (auto folder = std::filesystem::current_path(ignored); !folder.empty(); folder = folder.parent_path()) {
        if (std::filesystem::exists(folder / "reference" / "main.cpp", ignored))
            return folder;
        if (folder == folder.parent_path())
            break;
    }
    return {};
}

std::string relative_link(const std::filesystem::path& target, const std::filesystem::path& output)
{
    std::error_code ignored;
    const auto folder = output.empty() || output == "-" ? std::filesystem::current_path() : std::filesystem::absolute(output).parent_path();
    return std::filesystem::proximate(target, folder, ignored).generic_string();
}

}  // namespace

// Graphviz takes the entities of XML in its HTML-like labels, but then replaces \N, \G and the like: a backslash is two.
std::string graph_text(const std::string& text, std::size_t most)
{
    return with_backslashes(escape_markup(visible_text(text, most)), "&#92;&#92;");
}

std::string dot_text(const Graph& graph)
{
    std::string text = "digraph pictor {\n";
    text += fmt::format("  graph [id=\"{}\", rankdir={}, bgcolor=\"#ffffff\", fontname=\"DejaVu Sans\", fontsize={}, ranksep={}, nodesep={}, pad=0.15, splines=true{}{}];\n",
                        graph.id, graph.left_to_right ? "LR" : "TB", graph.title_size, graph.rank_gap, graph.node_gap, graph.attributes.empty() ? "" : ", ", graph.attributes);
    text += "  node [shape=box, fontname=\"DejaVu Sans\", fontcolor=\"#1d2230\", margin=\"0.15,0.06\"];\n";
    text += fmt::format("  edge [fontname=\"DejaVu Sans\", fontsize={}, arrowsize=0.7];\n", graph.edge_size);
    for (const GraphNode& node : graph.nodes)
        text += node_text(node, graph);
    for (const GraphGroup& group : graph.groups) {
        const Kind& kind = kind_of(group.kind);
        text += fmt::format("  subgraph cluster_{0} {{ id=\"{4}_group_{0}\"; label=<<B>{1}</B>>; labeljust=l; style=\"rounded\"; color=\"{2}\"; fontcolor=\"{3}\"; class=\"group\"; penwidth=1.2; margin=12;",
                            group.id, graph_text(group.title), kind.stroke, kind.stroke, graph.id);
        for (const std::string& member : group.members)
            text += " " + member + ";";
        text += " }\n";
    }
    for (const auto& rank : graph.same_rank)
        text += fmt::format("  {{ rank=same; {}; }}\n", fmt::join(rank, "; "));
    for (std::size_t i = 0; i < graph.edges.size(); ++i)
        text += edge_text(graph.edges[i], fmt::format("{}_edge{}", graph.id, i));
    return text + "}\n";
}

std::string graph_style_sheet()
{
    std::string css = "a:hover text,a:focus text{text-decoration:underline}\n@media (prefers-color-scheme:dark){\n"
                      ".graph>polygon,.page{fill:#14171d}\n.node text,.graph>text{fill:#eef1f6}\n.group text,.title{fill:#dfe5ee}\n.soft{fill:#a9b3c4}\n";
    for (const Kind& kind : kinds)
        css += fmt::format(".{0} path,.{0} polygon,rect.{0}{{fill:{1};stroke:{2}}}\n", kind.name, kind.dark_fill, kind.dark_stroke);
    css += ".cluster path,.cluster polygon{fill:none}\n";
    for (const EdgeKind& kind : edge_kinds)
        css += fmt::format(".edge.{0} path{{stroke:{1};fill:none}}.edge.{0} polygon{{stroke:{1};fill:{1}}}.edge.{0} text{{fill:{1}}}line.{0}{{stroke:{1}}}\n", kind.name, kind.dark);
    return css + "}\n";
}

std::string lay_out_graph(const Graph& graph)
{
    // With places given, Graphviz only draws the nodes and routes the edges.
    const bool placed = !graph.nodes.empty() && graph.nodes[0].place;
    const std::vector<std::string> command = placed ? std::vector<std::string>{"dot", "-Kneato", "-n", "-Tsvg"} : std::vector<std::string>{"dot", "-Tsvg"};
    std::string svg = run_program(command, dot_text(graph), "install graphviz");
    const std::size_t start = svg.find("<svg");
    const std::size_t end = start == std::string::npos ? start : svg.find('>', start);
    if (end == std::string::npos)
        throw std::runtime_error("dot: gave no SVG; Graphviz 2.40 or newer would be right");
    // Where DejaVu is missing, Verdana has its widths.
    for (std::size_t at = 0; (at = svg.find("font-family=\"DejaVu Sans\"", at)) != std::string::npos; at += 30)
        svg.replace(at, 25, "font-family=\"DejaVu Sans,Verdana,sans-serif\"");
    svg.insert(end + 1, "\n<style>" + graph_style_sheet() + "</style>");
    // Graphviz names the whole after the graph; readers of the picture want its title.
    const std::string title = "<title>pictor</title>";
    const std::size_t named = svg.find(title);
    return named == std::string::npos ? svg : svg.replace(named, title.size(), "<title>" + escape_markup(graph.title) + "</title>");
}

SvgSize svg_size(const std::string& svg)
{
    const auto attribute = [&](const char* name) {
        const std::size_t start = svg.find("<svg"), at = svg.find(std::string(" ") + name + "=\"", start);
        if (start == std::string::npos || at == std::string::npos) return 0.0;
        const char* const first = svg.c_str() + at + std::char_traits<char>::length(name) + 3;
        char* last = nullptr;
        const double value = std::strtod(first, &last);
        return std::string(last, 2) == "pt" ? value * 4 / 3 : value;
    };
    return {attribute("width"), attribute("height")};
}

std::string nested_svg(const std::string& svg, double x, double y, double width, double height)
{
    const std::size_t start = svg.find("<svg");
    std::string inner = svg.substr(start == std::string::npos ? 0 : start);
    const std::size_t end = inner.find('>');
    std::string tag = inner.substr(0, end);
    static const std::regex extent(" (width|height)=\"[^\"]*\"");
    tag = std::regex_replace(tag, extent, "");
    return tag + fmt::format(" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" preserveAspectRatio=\"xMidYMid meet\"", x, y, width, height) + inner.substr(end);
}

KindColours kind_colours(const std::string& kind) { return {kind_of(kind).fill, kind_of(kind).stroke}; }

std::string source_link(const std::string& file, const std::filesystem::path& output)
{
    std::error_code ignored;
    const std::filesystem::path root = checkout(), target = root / file;
    return root.empty() || file.empty() || !std::filesystem::exists(target, ignored) ? "" : relative_link(target, output);
}

std::string chapter_link(const std::string& stem, const std::filesystem::path& output)
{
    std::error_code ignored;
    const std::filesystem::path root = checkout();
    if (root.empty() || stem.empty())
        return "";
    // Chapters bear a number before their stem: 14-cross-attention.md.
    for (const auto& entry : std::filesystem::directory_iterator(root / "chapters", ignored)) {
        const std::string name = entry.path().stem().string();
        const std::size_t dash = name.find('-');
        if (entry.path().extension() == ".md" && (name == stem || (dash != std::string::npos && name.substr(dash + 1) == stem)))
            return relative_link(entry.path(), output);
    }
    return "";
}

}  // namespace pictor
