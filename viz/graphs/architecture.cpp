#include "viz/graphs/architecture.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "viz/drawing/svg.h"

namespace pictor {
namespace {

constexpr const char* times = "\xC3\x97";

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

std::string list_text(const std::vector<std::int64_t>& numbers)
{
    if (numbers.size() <= 10)
        return fmt::format("{}", fmt::join(numbers, ", "));
    return fmt::format("{}, {}, {}, \xE2\x80\xA6, {}", numbers[0], numbers[1], numbers[2], numbers.back());
}

void add_picture_side(Builder& b)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    b.node("picture", "data", "picture", {"RGB, any size"}, 0, "base/image_decode.cpp", "decode");
    b.node("tiles", "plain", "resize, pad, cut",
           {fmt::format("\xE2\x89\xA4 {}{} {} 3 {} {} {} {}", s.max_tiles, b.detail(" tiles"), times, times,
                        s.tile_size, times, s.tile_size),
            b.detail(fmt::format("{} aspect ratios (h, w)", s.n_aspect_ratios))},
           0, "reference/image/tiles.cpp", "tiles");
    b.node("patches", "embedding", "conv patches",
           {fmt::format("{} {} {} of {} px{}", s.patches_per_side(), times, s.patches_per_side(),
                        s.patch_size, b.detail(fmt::format(", stride {}", s.patch_size))),
            b.detail(fmt::format("[tiles, {}, {}]", s.n_patches() - 1, s.d_vision))},
           c.patch_embedding, "reference/vision/patch_embedding.cpp", "patch-embedding");
    b.node("positions", "embedding", b.slide ? "+ positions" : "+ aspect ratio, position, tile",
           {b.slide ? fmt::format("{} a tile, with class", s.n_patches())
                    : fmt::format("{} patches a tile with class", s.n_patches()),
            b.detail("tanh(g) \xC2\xB7 pre-tile[aspect id]"),
            b.detail("(1 \xE2\x88\x92 tanh g) \xC2\xB7 position + tanh g \xC2\xB7 tile position"),
            b.detail("LayerNorm")},
           c.pre_tile + c.positions + c.vision_norms / 2, "reference/vision/positions.cpp", "positions");
    const std::string rows = fmt::format("[{}{} {} {}, {}]", s.max_tiles, b.detail(" tiles"), times,
                                         s.n_padded_patches(), s.d_vision);
    if (b.options.unfold) {
        for (std::int64_t i = 0; i < s.n_local_layers; ++i) {
            const bool kept = std::find(s.kept_layers.begin(), s.kept_layers.end(), i) != s.kept_layers.end();
            b.node(fmt::format("local{}", i), "local", fmt::format("vision layer {}", i),
                   {kept ? "its input is kept" : ""}, 0, "reference/vision/encoder.cpp", "encoder");
        }
    } else {
        b.node("local", "local",
               b.slide ? "vision encoder" : fmt::format("vision encoder {}{}", times, s.n_local_layers),
               {b.slide ? fmt::format("{} layers, {} heads", s.n_local_layers, s.n_vision_heads) : "", rows,
                b.detail(fmt::format("{} heads of {}, MLP {}", s.n_vision_heads,
                                     s.d_vision / s.n_vision_heads, s.d_vision_mlp)),
                b.detail("all tiles at once, GELU"),
                b.detail(fmt::format("inputs of layers {} are kept", list_text(s.kept_layers)))},
               c.local_layer * s.n_local_layers, "reference/vision/encoder.cpp", "encoder");
    }
    b.node("post_tile", "embedding", b.slide ? "+ post-tile" : "LayerNorm + post-tile",
           {b.detail("tanh(g) \xC2\xB7 post-tile[aspect id]")}, c.post_tile + c.vision_norms / 2,
           "reference/vision/positions.cpp", "positions");
    if (b.options.unfold) {
        for (std::int64_t i = 0; i < s.n_global_layers; ++i)
            b.node(fmt::format("global{}", i), "global", fmt::format("global layer {}", i), {"gated"}, 0,
                   "reference/vision/encoder.cpp", "encoder");
    } else {
        b.node("global", "global",
               b.slide ? "global encoder" : fmt::format("global encoder {}{}", times, s.n_global_layers),
               {b.slide ? fmt::format("{} layers, gated", s.n_global_layers) : "", rows,
                b.detail("each branch \xC2\xB7 tanh(gate)")},
               c.global_layer * s.n_global_layers, "reference/vision/encoder.cpp", "encoder");
    }
    b.node(
        "kept", "data", b.slide ? "final | kept" : "final | kept states",
        {fmt::format("[{}{} {} {}, {}]", s.max_tiles, b.detail(" tiles"), times, s.n_patches(),
                     s.d_vision_output()),
         b.slide ? "inputs of " + list_text(s.kept_layers) : "padding rows dropped; kept states interleaved"},
        0, "reference/vision/encoder.cpp", "encoder");
    b.node("projector", "projector", "projector",
           {fmt::format("{} \xE2\x86\x92 {}", s.d_vision_output(), s.d_text)}, c.projector,
           "reference/vision/projector.cpp", "projector");

    b.edge("picture", "tiles");
    b.edge("tiles", "patches");
    b.edge("patches", "positions");
    const std::string first = b.options.unfold ? "local0" : "local",
                      last = b.options.unfold ? fmt::format("local{}", s.n_local_layers - 1) : "local";
    b.edge("positions", first);
    if (b.options.unfold) {
        for (std::int64_t i = 1; i < s.n_local_layers; ++i)
            b.edge(fmt::format("local{}", i - 1), fmt::format("local{}", i));
        for (std::int64_t i = 1; i < s.n_global_layers; ++i)
            b.edge(fmt::format("global{}", i - 1), fmt::format("global{}", i));
        for (const std::int64_t i : s.kept_layers)
            b.edge(i == 0 ? "positions" : fmt::format("local{}", i - 1), "kept", "kept", "", false);
    } else {
        b.edge("local", "kept", "kept", "", false);  // a label would stand in the way of other lines
    }
    b.edge(last, "post_tile");
    b.edge("post_tile", b.options.unfold ? "global0" : "global");
    b.edge(b.options.unfold ? fmt::format("global{}", s.n_global_layers - 1) : "global", "kept");
    b.edge("kept", "projector");
}

// One node for a run of layers; returns its id.
std::string add_layer_run(Builder& b, const LayerRun& run)
{
    const ModelSizes& s = b.sizes;
    const std::string id = fmt::format("text{}", run.first);
    std::string layers = run.count == 1
                             ? fmt::format("layer {}", run.first)
                             : fmt::format("layers {}\xE2\x80\x93{}", run.first, run.first + run.count - 1);
    if (run.times > 1)
        layers = run.is_cross ? fmt::format("{} times: {}, {}, \xE2\x80\xA6, {}", run.times, run.first,
                                            run.first + run.stride, run.first + run.stride * (run.times - 1))
                              : fmt::format("{} times: after each of these", run.times);
    const std::string count = run.count > 1 && !b.slide ? fmt::format(" {}{}", times, run.count) : "";
    if (b.slide && run.times > 1)
        layers = run.is_cross ? fmt::format("{} layers: {}, {}, \xE2\x80\xA6, {}", run.times, run.first,
                                            run.first + run.stride, run.first + run.stride * (run.times - 1))
                              : fmt::format("{} after each of these", run.count);
    if (run.is_cross)
        b.node(id, "cross", "cross-attention" + count,
               {layers,
                b.detail(fmt::format("{} query heads, keys {} {} {}", s.n_heads, s.max_tiles, times,
                                     s.n_patches())),
                b.detail("branches \xC2\xB7 tanh(gate); no RoPE")},
               b.parameters.cross_layer * run.count * run.times, "reference/text/cross_attention.cpp",
               "cross-attention");
    else
        b.node(id, "self", "self-attention" + count,
               {layers,
                b.slide ? "RoPE on Q, K"
                        : fmt::format("{} query, {} key heads of {}", s.n_heads, s.n_kv_heads, s.d_head),
                b.detail(fmt::format("SwiGLU MLP {}", s.d_text_mlp))},
               b.parameters.self_layer * run.count * run.times, "reference/text/self_attention.cpp",
               "self-attention");
    return id;
}

void add_text_side(Builder& b)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    b.node("prompt", "data", "prompt", {"chat template, <|image|>"}, 0, "reference/prompt/chat_template.cpp",
           "chat-template");
    b.node("tokenizer", "plain", "tokenizer", {"byte-level BPE", fmt::format("{} words", s.n_vocabulary)}, 0,
           "reference/prompt/tokenizer.cpp", "tokenizer");
    b.node("embedding", "embedding", "embedding table",
           {fmt::format("[{} + 8, {}]", s.n_vocabulary, s.d_text),
            b.detail("token ids [T] \xE2\x86\x92 [T, d]")},
           c.embedding_table, "reference/text/token_embedding.cpp", "token-embedding");
    if (!b.slide)
        b.node("rope", "norm", "RoPE", {"turns Q and K", "of every self-attention"}, 0,
               "reference/text/rope.cpp", "rope");
    b.edge("prompt", "tokenizer");
    b.edge("tokenizer", "embedding", "flow", b.detail("ids [T]"));

    std::string last = "embedding", first_self;
    bool first_cross = true;
    for (const auto& group : fold_layers(s, b.options.unfold)) {
        std::vector<std::string> members;
        for (const LayerRun& run : group) {
            const std::string id = add_layer_run(b, run);
            b.edge(last, id, "flow", "", true, "weight=8");
            if (run.is_cross)
                b.edge("projector", id, "picture", "", false,
                       first_cross && !b.slide ? "tailport=e, headport=w" : "");
            else if (first_self.empty())
                first_self = id;
            first_cross = first_cross && !run.is_cross;
            last = id;
            members.push_back(id);
        }
        if (group.size() > 1 && !b.slide)  // the pair comes several times in a row
            b.edge(members.back(), members.front(), "flow", "", false,
                   "style=dashed, tailport=e, headport=e");
    }
    if (!first_self.empty() && !b.slide) {
        b.edge("rope", first_self, "rope", "", true, "weight=0");
        b.graph.same_rank.push_back({"rope", "embedding"});
    }
    const std::string logits = fmt::format("logits [T, {}]", s.n_vocabulary);
    if (b.slide) {  // large type: two boxes for four
        b.node("lm_head", "head", "LM head", {"after a last RMSNorm", logits}, c.final_norm + c.lm_head,
               "reference/text/lm_head.cpp", "lm-head");
        b.node("sample", "head", "sample", {"greedy, top-k, top-p", "until an end token"}, 0,
               "reference/text/sampler.cpp", "sampler");
        b.edge(last, "lm_head");
        b.edge("lm_head", "sample");
        b.edge("sample", "embedding", "flow", b.options.unfold ? "" : "next word", false, "style=dashed");
        return;
    }
    b.node("final_norm", "norm", "RMSNorm", {fmt::format("[T, {}]", s.d_text)}, c.final_norm,
           "reference/text/rms_norm.cpp", "rms-norm");
    b.node("lm_head", "head", "LM head", {logits}, c.lm_head, "reference/text/lm_head.cpp", "lm-head");
    b.node("sample", "head", "sample", {"greedy, or temperature,", "top-k, top-p"}, 0,
           "reference/text/sampler.cpp", "sampler");
    b.node("word", "data", "next word", {"until an end token"}, 0, "reference/generate.cpp", "generate");
    b.edge(last, "final_norm", "flow", "", true, "weight=8");
    b.edge("final_norm", "lm_head");
    b.edge("lm_head", "sample");
    b.edge("sample", "word");
    b.edge("word", "embedding", "flow", "again, one token at a time", false, "style=dashed");
}

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

std::string page_with(const std::string& graph_svg, const Builder& b, double width, double height,
                      double graph_width, double graph_height, double legend_size)
{
    const ModelSizes& s = b.sizes;
    const ParameterCounts& c = b.parameters;
    SvgPage page(width, height, "Architecture of " + visible_text(s.name));
    const double margin = b.slide ? 44 : 30, title_size = b.slide ? 34 : 24;
    page.raw("<style type=\"text/css\">" + graph_style_sheet() + "</style>\n");
    page.raw(
        fmt::format("<rect class=\"page\" width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", width, height));
    page.raw(fmt::format(
        "<text class=\"title\" x=\"{}\" y=\"{}\" font-size=\"{}\" font-weight=\"bold\" fill=\"#1d2230\">{}</text>\n",
        margin, margin + title_size * 0.6, title_size, escape_markup(visible_text(s.name, 60))));
    const std::string subtitle = fmt::format(
        "{} parameters: {} on the picture side, {} on the text side. {} text layers, cross-attention in {} of them: {}.",
        count_text(c.total), count_text(c.vision), count_text(c.text), s.n_text_layers, s.cross_layers.size(),
        list_text(s.cross_layers));
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
        std::int64_t copies = 1;
        while (!unfold && runs[i].is_cross && i + 2 * static_cast<std::size_t>(copies) + 1 < runs.size() &&
               runs[i + 2 * static_cast<std::size_t>(copies)].count == runs[i].count &&
               runs[i + 2 * static_cast<std::size_t>(copies) + 1].count == runs[i + 1].count)
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
    b.graph.title = "Architecture of " + visible_text(sizes.name);
    b.graph.left_to_right = b.slide;
    b.graph.title_size = b.slide ? 25 : 15;
    b.graph.small_size = b.slide ? 19 : 12;
    b.graph.edge_size = b.slide ? 18 : 11;
    b.graph.rank_gap = b.slide ? 0.35 : 0.32;
    b.graph.node_gap = b.slide ? 0.5 : 0.35;
    add_picture_side(b);
    const std::size_t n_picture_nodes = b.graph.nodes.size();
    add_text_side(b);
    if (b.slide)
        place_in_rows(b.graph, n_picture_nodes);
    const std::string svg = lay_out_graph(b.graph);
    const SvgSize size = svg_size(svg);
    if (b.slide)
        return page_with(svg, b, 1600, 900, 1530, 665, 18);
    const double width = std::max(720.0, size.width + 60);
    SvgPage measure(width, 10, "");
    const double legend_height = draw_legend(measure, b.graph, 30, 0, width - 60, 14);
    return page_with(svg, b, width, size.height + legend_height + 140, size.width, size.height, 14);
}

}  // namespace pictor
