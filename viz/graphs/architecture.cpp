#include "viz/graphs/architecture.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/architecture_boxes.h"
#include "viz/graphs/run_diagram.h"

namespace pictor {
namespace {

struct LegendEntry {
    const char* kind;
    const char* words;
    bool is_line;
};

constexpr LegendEntry legend[]{{"data", "data", false},
                               {"embedding", "embeddings", false},
                               {"local", "vision encoder", false},
                               {"global", "global encoder, gated", false},
                               {"projector", "projector", false},
                               {"self", "self-attention layer", false},
                               {"cross", "cross-attention layer, gated", false},
                               {"norm", "norm, rotation", false},
                               {"head", "words out", false},
                               {"picture", "keys and values of the picture", true},
                               {"kept", "kept states", true}};

// Arrows from the projector to boxes of the text's second row would cut those of its first. Takes them out
// and returns where they go.
std::vector<std::string> take_lines_to_second_row(Graph& graph, std::size_t n_picture_nodes)
{
    const double first_row = graph.nodes[n_picture_nodes].place->second;
    std::vector<std::string> below;
    std::erase_if(graph.edges, [&](const GraphEdge& edge) {
        const auto goal = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                       [&](const GraphNode& node) { return node.id == edge.to; });
        const bool cuts =
            edge.kind == "picture" && goal != graph.nodes.end() && goal->place->second > first_row;
        if (cuts)
            below.push_back(edge.to);
        return cuts;
    });
    return below;
}

// Rows of boxes for a slide, read to and fro like a field is ploughed. Returns the number of columns.
std::int64_t place_in_rows(Graph& graph, std::size_t n_picture_nodes)
{
    const std::size_t total = graph.nodes.size(), n_text = total - n_picture_nodes;
    const std::size_t columns =
        total <= 22 ? std::max<std::size_t>(5, (n_text + 1) / 2)
                    : static_cast<std::size_t>(std::ceil(std::sqrt(1.5 * static_cast<double>(total))));
    const double across = total <= 22 ? 300 : 252, down = total <= 22 ? 162 : 158;
    double top = 0;
    for (const auto& [first, count] :
         {std::pair{std::size_t{0}, n_picture_nodes}, std::pair{n_picture_nodes, n_text}}) {
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t row = i / columns,
                              column = row % 2 == 0 ? i % columns : columns - 1 - i % columns;
            graph.nodes[first + i].place =
                std::pair{across * static_cast<double>(column), top + down * static_cast<double>(row)};
        }
        top += down * static_cast<double>((count + columns - 1) / columns) + 14;
    }
    return static_cast<std::int64_t>(columns);
}

bool occurs(const Graph& graph, const LegendEntry& entry)
{
    return std::any_of(graph.nodes.begin(), graph.nodes.end(),
                       [&](const GraphNode& node) { return node.kind == entry.kind; }) ||
           std::any_of(graph.edges.begin(), graph.edges.end(),
                       [&](const GraphEdge& edge) { return edge.kind == entry.kind; });
}

// Draws the legend of what the graph has, in rows; returns the height used.
double draw_legend(SvgPage& page, const Graph& graph, double x, double y, double width, double size)
{
    double left = x, base = y + size;
    for (const LegendEntry& entry : legend) {
        if (!occurs(graph, entry))
            continue;
        const double space = size * 2 + text_width(entry.words, size) + 26;
        if (left + space > x + width) {
            left = x;
            base += size * 2;
        }
        page.raw(entry.is_line ? legend_line(entry.kind, left, left + size * 1.7, base - size * 0.36)
                               : legend_box(entry.kind, left, base - size * 0.95, size * 1.7, size * 1.2));
        page.raw(fmt::format(
            "<text class=\"title\" x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"#1d2230\">{}</text>\n",
            left + size * 2.1, base, size, escape_markup(entry.words)));
        left += space;
    }
    return base - y + size;
}

std::string run_subtitle(const RunFacts& facts)
{
    const Run& run = facts.run;
    return fmt::format(
        "{}: {} tokens in, {} out, under {} rules. Shapes are those of the first step, which reads "
        "the whole prompt; \xE2\x80\x9Csample\xE2\x80\x9D holds the likeliest first words.",
        visible_text(run.trace().folder().filename().string(), 40), run.n_prompt(),
        run.n_tokens() - run.n_prompt(),
        run.reference() == "meta" ? "Meta's" : visible_text(run.reference(), 20) + "'s");
}

std::string page_with(const std::string& graph_svg, const Builder& b, double width, double height,
                      double graph_width, double graph_height, double legend_size)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    SvgPage page(width, height, b.graph.title);
    const double margin = b.slide ? 44 : 30, title_size = b.slide ? 34 : 24;
    page.raw("<style type=\"text/css\">" + graph_style_sheet() + "</style>\n");
    page.raw(
        fmt::format("<rect class=\"page\" width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", width, height));
    page.raw(fmt::format("<text class=\"title\" x=\"{}\" y=\"{}\" font-size=\"{}\" font-weight=\"bold\" "
                         "fill=\"#1d2230\">{}</text>\n",
                         margin, margin + title_size * 0.6, title_size,
                         escape_markup(b.options.run ? b.graph.title : visible_text(s.name, 60))));
    const std::string subtitle =
        b.options.run
            ? run_subtitle(*b.options.run)
            : fmt::format("{} parameters: {} on the picture side, {} on the text side. {} text layers, "
                          "cross-attention in {} of them: {}.",
                          count_text(c.total), count_text(c.vision), count_text(c.text), s.n_text_layers,
                          s.cross_layers.size(), list_text(s.cross_layers));
    double y = margin + title_size * 1.4;
    for (const std::string& line : wrap_text(subtitle, legend_size, width - 2 * margin)) {
        page.raw(fmt::format(
            "<text class=\"soft\" x=\"{}\" y=\"{}\" font-size=\"{}\" fill=\"#4a5363\">{}</text>\n", margin, y,
            legend_size, escape_markup(line)));
        y += legend_size * 1.4;
    }
    page.raw(nested_svg(graph_svg, (width - graph_width) / 2, y, graph_width, graph_height));
    draw_legend(page, b.graph, margin, y + graph_height + legend_size * 0.6, width - 2 * margin, legend_size);
    return page.finish();
}

}  // namespace

std::vector<std::vector<LayerRun>> fold_layers(const ModelSizes& sizes, bool unfold)
{
    std::vector<LayerRun> runs;
    for (std::int64_t layer = 0; layer < sizes.n_text_layers; ++layer) {
        const bool is_cross = sizes.is_cross(layer);
        if (unfold || runs.empty() || runs.back().is_cross != is_cross)
            runs.push_back({is_cross, layer, 1, 1, 0});
        else
            ++runs.back().count;
    }
    std::vector<std::vector<LayerRun>> groups;
    for (std::size_t i = 0; i < runs.size();) {
        // How often the pair (cross, self) that starts here comes again at once.
        std::size_t copies = 1;
        while (!unfold && runs[i].is_cross && i + 2 * copies + 1 < runs.size() &&
               runs[i + 2 * copies].count == runs[i].count &&
               runs[i + 2 * copies + 1].count == runs[i + 1].count)
            ++copies;
        if (copies >= 3) {
            const std::int64_t stride = runs[i].count + runs[i + 1].count;
            LayerRun cross = runs[i], self = runs[i + 1];
            cross.times = self.times = copies;
            cross.stride = self.stride = stride;
            groups.push_back({cross, self});
            i += 2 * static_cast<std::size_t>(copies);
        } else {
            groups.push_back({runs[i++]});
        }
    }
    return groups;
}

std::string architecture_drawing(const ModelSizes& sizes, const ArchitectureOptions& options)
{
    constexpr std::int64_t most_boxes = 250;  // Graphviz's time grows with the square of what it lays out
    const std::int64_t layers = sizes.n_text_layers + sizes.n_local_layers + sizes.n_global_layers;
    if (options.unfold && layers > most_boxes)
        throw std::runtime_error(fmt::format(
            "--unfold: {} layers; up to {} can be drawn one by one: leave --unfold out, which folds them",
            layers, most_boxes));
    Builder b{sizes, options, count_parameters(sizes), {}, options.style == DiagramStyle::slide};
    b.graph.title = options.run ? "One run, box by box" : "Architecture of " + visible_text(sizes.name);
    b.graph.left_to_right = b.slide;
    b.graph.title_size = b.slide ? 25 : 15;
    b.graph.small_size = b.slide ? 19 : 12;
    b.graph.edge_size = b.slide ? 18 : 11;
    b.graph.rank_gap = b.slide ? 0.35 : 0.32;
    b.graph.node_gap = b.slide ? 0.5 : 0.35;
    add_picture_side(b);
    const std::size_t n_picture_nodes = b.graph.nodes.size();
    add_text_side(b);
    if (options.run)
        put_run_into(b.graph, sizes, *options.run, b.slide);
    std::vector<std::string> second_row;
    if (b.slide)
        place_in_rows(b.graph, n_picture_nodes);
    if (b.slide && !options.unfold)
        second_row = take_lines_to_second_row(b.graph, n_picture_nodes);
    std::string svg = lay_out_graph(b.graph);
    svg = with_line_round(svg, b.graph, "picture", "projector", second_row);
    if (options.run)
        svg = with_canvas(svg, b.graph, *options.run);
    const SvgSize size = svg_size(svg);
    if (b.slide) {
        constexpr double width = 1530, height = 665, smallest_type = 11;
        const double type = b.graph.small_size * std::min(width / size.width, height / size.height) * 4 / 3;
        if (type < smallest_type)
            throw std::runtime_error(fmt::format(
                "--style slide: {} boxes leave type of {:.1f} pixels on a slide of 1600 x 900, too "
                "small to read; "
                "leave --unfold out, or draw it with --style article",
                b.graph.nodes.size(), type));
        return page_with(svg, b, 1600, 900, width, height, 18);
    }
    const double width = std::max(720.0, size.width + 60);
    SvgPage measure(width, 10, "");
    const double legend_height = draw_legend(measure, b.graph, 30, 0, width - 60, 14);
    return page_with(svg, b, width, size.height + legend_height + 140, size.width, size.height, 14);
}

}  // namespace pictor
