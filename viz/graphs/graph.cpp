#include "viz/graphs/graph.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>
#include <regex>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/output.h"
#include "viz/drawing/svg.h"

namespace pictor {

// Between kinds with one border the fill's lightness differs, so that a gray print keeps them apart; a test
// measures it.
const std::array<KindLook, 11> kind_looks{{
    {"data", "#f1f3f8", "#4d535e", "#292e38", "#b7becb", Border::dashed},
    {"plain", "#ffffff", "#4d535e", "#1c1e23", "#b7becb", Border::single},
    {"embedding", "#c4ebbc", "#226310", "#2e4729", "#98cf8b", Border::square},
    {"local", "#94c2ea", "#02578b", "#305f85", "#80c5ff", Border::single},
    {"global", "#79afe8", "#015493", "#24598c", "#89c3fe", Border::twice},
    {"projector", "#b9a1e6", "#5f3d8e", "#70529e", "#c8aefa", Border::square},
    {"self", "#f3cb9d", "#734803", "#5b4020", "#ebb16c", Border::single},
    {"cross", "#de6f47", "#8b320b", "#a74b29", "#fba587", Border::twice},
    {"norm", "#fafbf5", "#535447", "#252620", "#bebfb1", Border::dotted},
    {"head", "#f9eab1", "#625101", "#3c3413", "#d4bd67", Border::single},
    {"odd", "#fed1d6", "#9e3d52", "#6d172e", "#fba0ad", Border::thick},
}};

namespace {

// How a box is drawn round: what tells kinds apart where their fills are nearly the same gray.
struct BorderLook {
    const char* style;
    double width;
    int lines;
};

const BorderLook& look_of(Border border)
{
    static constexpr std::array<BorderLook, 6> looks{{{"filled,rounded", 1.2, 1},
                                                      {"filled,rounded,dashed", 1.2, 1},
                                                      {"filled,rounded,dotted", 1.6, 1},
                                                      {"filled", 1.6, 1},
                                                      {"filled,rounded", 1.4, 2},
                                                      {"filled,rounded", 3.4, 1}}};
    return at(looks, static_cast<std::int64_t>(border));
}

const KindLook& kind_of(const std::string& name)
{
    for (const KindLook& kind : kind_looks)
        if (name == kind.name)
            return kind;
    return kind_looks[1];
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
    {"picture", "#5f3d8e", "#c8aefa", "solid", 3.0},
    {"kept", "#02578b", "#80c5ff", "dashed", 1.8},
    {"rope", "#226310", "#98cf8b", "dotted", 2.2},
    {"residual", "#6b7385", "#98a2b3", "solid", 1.3},
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

bool has_own_links(const GraphNode& node)
{
    return std::any_of(node.lines.begin(), node.lines.end(),
                       [](const LabelLine& line) { return !line.href.empty(); });
}

std::string html_label(const GraphNode& node, const Graph& graph)
{
    // Links do not nest: where a line has one of its own, the node's goes to the other lines.
    const bool own_links = has_own_links(node);
    std::string rows = "<TR><TD HEIGHT=\"3\"></TD></TR>";  // letters sit high in their lines
    for (std::size_t i = 0; i < node.lines.size(); ++i) {
        const LabelLine& line = node.lines[i];
        const double size = line.size > 0 ? line.size : i == 0 ? graph.title_size : graph.small_size;
        const bool bold = line.bold || i == 0;
        const std::string words = bold ? "<B>" + graph_text(line.text) + "</B>" : graph_text(line.text);
        const std::string& target = own_links && line.href.empty() ? node.href : line.href;
        const std::string link =
            target.empty() ? ""
                           : fmt::format(" HREF=\"{}\" TITLE=\"{}\" TARGET=\"_top\"", escape_markup(target),
                                         graph_text(line.href.empty() ? node.tooltip : line.href, 300));
        rows += fmt::format("<TR><TD{}><FONT POINT-SIZE=\"{}\">{}</FONT></TD></TR>", link, size,
                            words.empty() ? " " : words);
    }
    return "<<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"1\">" + rows + "</TABLE>>";
}

std::string node_text(const GraphNode& node, const Graph& graph)
{
    const KindLook& kind = kind_of(node.kind);
    const BorderLook& border = look_of(kind.border);
    std::string text =
        fmt::format("  {0} [id=\"{1}_{0}\", label={2}, class=\"{3}\", style=\"{4}\", fillcolor=\"{5}\", "
                    "color=\"{6}\", penwidth={7}, peripheries={8}",
                    node.id, graph.id, html_label(node, graph), kind.name, border.style, kind.fill,
                    kind.stroke, border.width, border.lines);
    if (node.place)
        text += fmt::format(", pos=\"{},{}\"", node.place->first, -node.place->second);
    // Without a link a tooltip would make Graphviz write a link to nowhere; lay_out_graph puts it into the
    // title.
    if (!node.href.empty() && !has_own_links(node))
        text += ", href=" + quoted(node.href) +
                ", target=\"_top\", tooltip=" + quoted(node.tooltip.empty() ? node.id : node.tooltip);
    return text + "];\n";
}

std::string edge_text(const GraphEdge& edge, const std::string& id)
{
    const EdgeKind& kind = edge_kind_of(edge.kind);
    std::string text = fmt::format(
        "  {} -> {} [id=\"{}\", class=\"{}\", color=\"{}\", style=\"{}\", penwidth={}", edge.from, edge.to,
        id, kind.name, edge.kind == "residual" ? fmt::format("{0}:{0}", kind.colour) : kind.colour,
        kind.style, kind.width);  // two lines side by side
    if (!edge.label.empty())
        text += fmt::format(", label=<<TABLE BORDER=\"0\" CELLPADDING=\"5\"><TR><TD><FONT "
                            "COLOR=\"{}\">{}</FONT></TD></TR></TABLE>>",
                            kind.colour, graph_text(edge.label));
    if (!edge.shapes_layout)
        text += ", constraint=false";
    if (!edge.attributes.empty())
        text += ", " + edge.attributes;
    return text + "];\n";
}

// Graphviz titles every part with its name in the graph's source. Whoever points at one, or has it read out,
// wants to know what it is.
std::string with_titles(const std::string& svg, const Graph& graph)
{
    std::map<std::string, std::string> titles{{"pictor", graph.title}};
    std::map<std::string, std::string> words;
    for (const GraphNode& node : graph.nodes) {
        words[node.id] = node.lines.empty() ? node.id : node.lines[0].text;
        titles[node.id] = node.tooltip.empty() ? words[node.id] : node.tooltip;
    }
    for (const GraphEdge& edge : graph.edges)
        titles[edge.from + "&#45;&gt;" + edge.to] = words[edge.from] + " \xE2\x86\x92 " + words[edge.to] +
                                                    (edge.label.empty() ? "" : ": " + edge.label);
    std::string result;
    std::size_t done = 0;
    const std::string open = "<title>";
    for (std::size_t at = svg.find(open); at != std::string::npos; at = svg.find(open, done)) {
        const std::size_t first = at + open.size(), last = svg.find("</title>", first);
        const auto found = titles.find(svg.substr(first, last - first));
        result += svg.substr(done, first - done) + (found == titles.end()
                                                        ? svg.substr(first, last - first)
                                                        : escape_markup(visible_text(found->second, 300)));
        done = last;
    }
    return result + svg.substr(done);
}

}  // namespace

// Graphviz takes the entities of XML in its HTML-like labels, but then replaces \N, \G and the like: a
// backslash is two.
std::string graph_text(const std::string& text, std::size_t most)
{
    return with_backslashes(escape_markup(visible_text(text, most)), "&#92;&#92;");
}

std::string dot_text(const Graph& graph)
{
    std::string text = "digraph pictor {\n";
    text += fmt::format(
        "  graph [id=\"{}\", rankdir={}, bgcolor=\"#ffffff\", fontname=\"DejaVu Sans\", fontsize={}, "
        "ranksep={}, nodesep={}, pad=0.15, splines=true{}{}];\n",
        graph.id, graph.left_to_right ? "LR" : "TB", graph.title_size, graph.rank_gap, graph.node_gap,
        graph.attributes.empty() ? "" : ", ", graph.attributes);
    text += "  node [shape=box, fontname=\"DejaVu Sans\", fontcolor=\"#1d2230\", margin=\"0.17,0.06\"];\n";
    text += fmt::format("  edge [fontname=\"DejaVu Sans\", fontsize={}, arrowsize=0.7];\n", graph.edge_size);
    for (const GraphNode& node : graph.nodes)
        text += node_text(node, graph);
    for (const GraphGroup& group : graph.groups) {
        const KindLook& kind = kind_of(group.kind);
        text += fmt::format(
            "  subgraph cluster_{0} {{ id=\"{4}_group_{0}\"; label=<<B>{1}</B>>; labeljust=l; "
            "style=\"rounded\"; color=\"{2}\"; fontcolor=\"{3}\"; class=\"group\"; penwidth=1.2; margin=12;",
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
    std::string css =
        "a:hover text,a:focus text{text-decoration:underline}\n@media (prefers-color-scheme:dark){\n"
        ".graph>polygon,.page{fill:#14171d}\n.node text,.graph>text{fill:#eef1f6}\n.group "
        "text,.title{fill:#dfe5ee}\n.soft{fill:#a9b3c4}\n";
    for (const KindLook& kind : kind_looks)
        css += fmt::format(".{0} path,.{0} polygon,rect.{0}{{fill:{1};stroke:{2}}}\n", kind.name,
                           kind.dark_fill, kind.dark_stroke);
    css += ".node [fill=none],rect[fill=none]{fill:none}\n";  // the outer of two borders
    css += ".cluster path,.cluster polygon{fill:none}\n";
    for (const EdgeKind& kind : edge_kinds)
        css += fmt::format(
            ".edge.{0} path{{stroke:{1};fill:none}}.edge.{0} polygon{{stroke:{1};fill:{1}}}.edge.{0} "
            "text{{fill:{1}}}line.{0}{{stroke:{1}}}\n",
            kind.name, kind.dark);
    return css + "}\n";
}

std::string lay_out_graph(const Graph& graph)
{
    // With places given, Graphviz only draws the nodes and routes the edges.
    const bool placed = !graph.nodes.empty() && graph.nodes[0].place;
    const std::vector<std::string> command = placed
                                                 ? std::vector<std::string>{"dot", "-Kneato", "-n", "-Tsvg"}
                                                 : std::vector<std::string>{"dot", "-Tsvg"};
    std::string svg = run_program(command, dot_text(graph), "install graphviz");
    const std::size_t start = svg.find("<svg");
    const std::size_t end = start == std::string::npos ? start : svg.find('>', start);
    if (end == std::string::npos)
        throw std::runtime_error("dot: gave no SVG; Graphviz 2.40 or newer would be right");
    // Where DejaVu is missing, Verdana has its widths.
    for (std::size_t at = 0; (at = svg.find("font-family=\"DejaVu Sans\"", at)) != std::string::npos;
         at += 30)
        svg.replace(at, 25, "font-family=\"DejaVu Sans,Verdana,sans-serif\"");
    svg.insert(end + 1, "\n<title>" + escape_markup(graph.title) + "</title>");
    if (graph.own_style)
        svg.insert(end + 1, "\n<style type=\"text/css\">" + graph_style_sheet() + "</style>");
    return with_titles(svg, graph);
}

SvgSize svg_size(const std::string& svg)
{
    const auto attribute = [&](const char* name) {
        const std::size_t start = svg.find("<svg"), at = svg.find(std::string(" ") + name + "=\"", start);
        if (start == std::string::npos || at == std::string::npos)
            return 0.0;
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
    return tag +
           fmt::format(" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
                       "preserveAspectRatio=\"xMidYMid meet\"",
                       x, y, width, height) +
           inner.substr(end);
}

std::optional<NodeExtent> node_extent(const std::string& svg, const Graph& graph, const std::string& node)
{
    const std::size_t group = svg.find(fmt::format("<g id=\"{}_{}\"", graph.id, node));
    if (group == std::string::npos)
        return std::nullopt;
    const std::string part = svg.substr(group, svg.find("</g>", group) - group);
    static const std::regex shape(" (?:d|points)=\"([^\"]*)\""), point("(-?[0-9.]+)[, ](-?[0-9.]+)");
    NodeExtent extent;
    for (std::sregex_iterator found(part.begin(), part.end(), shape), end; found != end; ++found) {
        const std::string coordinates = (*found)[1];
        for (std::sregex_iterator at(coordinates.begin(), coordinates.end(), point); at != end; ++at) {
            const double x = std::stod((*at)[1]), y = std::stod((*at)[2]);
            extent = {std::min(extent.x0, x), std::min(extent.y0, y), std::max(extent.x1, x),
                      std::max(extent.y1, y)};
        }
    }
    return extent;
}

std::string with_line_round(const std::string& svg, const Graph& graph, const std::string& edge_kind,
                            const std::string& from, const std::vector<std::string>& to)
{
    NodeExtent all;
    for (const GraphNode& node : graph.nodes)
        if (const auto box = node_extent(svg, graph, node.id))
            all = {std::min(all.x0, box->x0), std::min(all.y0, box->y0), std::max(all.x1, box->x1),
                   std::max(all.y1, box->y1)};
    const auto start = node_extent(svg, graph, from);
    const std::size_t end = svg.rfind("</g>");
    static const std::regex view("viewBox=\"([-0-9.]+) ([-0-9.]+) ([-0-9.]+) ([-0-9.]+)\"");
    std::smatch box;
    if (!start || to.empty() || end == std::string::npos || !std::regex_search(svg, box, view))
        return svg;
    const EdgeKind& kind = edge_kind_of(edge_kind);
    constexpr double aside = 26, tip = 11;
    const double left = all.x0 - aside, bottom = all.y1 + aside, y0 = (start->y0 + start->y1) / 2;
    std::string path =
        fmt::format("M{:.1f},{:.1f} L{:.1f},{:.1f} L{:.1f},{:.1f}", start->x0, y0, left, y0, left, bottom);
    std::string arrows;
    for (const std::string& id : to)
        if (const auto goal = node_extent(svg, graph, id)) {
            const double x = (goal->x0 + goal->x1) / 2;
            path += fmt::format(" M{0:.1f},{1:.1f} L{2:.1f},{1:.1f} L{2:.1f},{3:.1f}", left, bottom, x,
                                goal->y1 + tip);
            arrows += fmt::format(
                "<polygon points=\"{0:.1f},{1:.1f} {2:.1f},{3:.1f} {4:.1f},{3:.1f}\" fill=\"{5}\"/>", x,
                goal->y1, x - 6, goal->y1 + tip, x + 6, kind.colour);
        }
    const std::string line =
        fmt::format("<g class=\"edge {}\"><path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" "
                    "stroke-linejoin=\"round\" "
                    "stroke-linecap=\"round\"/>{}</g>\n",
                    kind.name, path, kind.colour, kind.width, arrows);
    const std::string wider = fmt::format("viewBox=\"{:.2f} {} {:.2f} {:.2f}\"", std::stod(box[1]) - aside,
                                          box[2].str(), std::stod(box[3]) + aside, std::stod(box[4]) + aside);
    return std::regex_replace(svg.substr(0, end) + line + svg.substr(end), view, wider,
                              std::regex_constants::format_first_only);
}

std::string legend_box(const std::string& name, double x, double y, double width, double height)
{
    const KindLook& kind = kind_of(name);
    const BorderLook& border = look_of(kind.border);
    const std::string style = border.style;
    const char* const dash = style.find("dashed") != std::string::npos   ? " stroke-dasharray=\"5,2\""
                             : style.find("dotted") != std::string::npos ? " stroke-dasharray=\"1,5\""
                                                                         : "";
    const auto box = [&](double inset, const std::string& fill) {
        return fmt::format(
            "<rect class=\"{}\" x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" rx=\"{}\" "
            "fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n",
            kind.name, x + inset, y + inset, width - 2 * inset, height - 2 * inset,
            style.find("rounded") != std::string::npos ? 4 : 0, fill, kind.stroke, border.width, dash);
    };
    return border.lines > 1 ? box(0, "none") + box(3, kind.fill) : box(0, kind.fill);
}

std::string legend_line(const std::string& name, double x0, double x1, double y)
{
    const EdgeKind& kind = edge_kind_of(name);
    const std::string style = kind.style;
    const char* const dash = style == "dashed"   ? " stroke-dasharray=\"5,2\""
                             : style == "dotted" ? " stroke-dasharray=\"1,5\""
                                                 : "";
    return fmt::format(
        "<line class=\"{}\" x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" stroke=\"{}\" "
        "stroke-width=\"{}\"{}/>\n",
        kind.name, x0, y, x1, y, kind.colour, kind.width, dash);
}

}  // namespace pictor
