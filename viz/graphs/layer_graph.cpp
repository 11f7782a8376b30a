#include "viz/graphs/layer_graph.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "base/shown_text.h"
#include "trace/graph/operations.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/formulas.h"

namespace pictor {
namespace {

std::string identifier(const std::string& leaf)
{
    std::string id = "n_";
    for (const char c : leaf)
        id += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    return id;
}

std::string short_number(double value) { return fmt::format("{:.3g}", value); }

// The lowest float, which hides a key, would be all that mean and spread tell.
std::string statistics_text(const TensorStatistics& s)
{
    if (s.min < -1e37)
        return fmt::format("at most {}; the rest is masked", short_number(s.max));
    return fmt::format("{} \xC2\xB1 {}  |  {} \xE2\x80\xA6 {}", short_number(s.mean), short_number(s.std),
                       short_number(s.min), short_number(s.max));
}

// Of a slide: what attention reads, attention, the MLP.
int column_of(const std::string& leaf)
{
    if (leaf.starts_with("mlp") || leaf.starts_with("post_attention") || leaf == "out")
        return 2;
    for (const char* end : {"scores", "probs", "context", "o_proj", "attn.gated", "residual"})
        if (leaf.ends_with(end))
            return 1;
    return 0;
}

double reach(const TensorStatistics& s) { return std::max(std::abs(s.min), std::abs(s.max)); }

// Attention weights and masks have ranges of their own; only what flows on as hidden numbers is compared.
bool comparable(const std::string& leaf)
{
    return leaf.find("scores") == std::string::npos && leaf.find("probs") == std::string::npos;
}

// Draws one layer of a trace.
struct LayerDrawing {
    const Trace& trace;
    const LayerChoice& layer;
    std::int64_t step;
    std::filesystem::path output;
    bool slide = false;
    Graph graph;
    std::map<std::string, const TraceEntry*> entries;  // by leaf, "in", "out"
    std::vector<std::string> oddities;

    // Keys and values of the picture are made once, in step 0.
    const TraceEntry* find(const std::string& name) const
    {
        const TraceEntry* entry = trace.find(name, step);
        return entry ? entry : trace.find(name, 0);
    }

    double median_reach() const
    {
        std::vector<double> all;
        for (const auto& [leaf, entry] : entries)
            if (entry && comparable(leaf) && entry->size() > 0 && std::isfinite(reach(entry->statistics)) &&
                reach(entry->statistics) > 0)
                all.push_back(reach(entry->statistics));
        if (all.empty())
            return 0;
        std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
        return all[all.size() / 2];
    }

    // What is odd about a tensor; empty when nothing is.
    std::string oddity(const std::string& leaf, const TraceEntry& entry) const
    {
        const TensorStatistics& s = entry.statistics;
        if (s.nonfinite > 0)
            return fmt::format("{} NaN or infinite", s.nonfinite);
        if (entry.size() > 0 && s.zeros == entry.size())
            return "all zero";
        if (comparable(leaf) && median_reach() > 0 && reach(s) > 100 * median_reach())
            return "range over 100 times the others'";
        return "";
    }

    std::string chapter_of(const std::string& name) const
    {
        const Operation* const operation =
            find_operation(name, [this](const std::string& other) { return find(other) != nullptr; });
        return operation ? operation->chapter : "";
    }

    void add_node(const std::string& leaf, const std::string& title, const std::string& kind)
    {
        const TraceEntry* entry = entries.count(leaf) ? entries.at(leaf) : nullptr;
        GraphNode node;
        node.id = identifier(leaf);
        node.kind = kind;
        node.lines.push_back({title, 0, true, ""});
        const std::string how = slide ? formula(leaf, layer.prefix.starts_with("vision_model")) : "";
        if (!how.empty())
            node.lines.push_back({how, 0, false, ""});
        if (entry) {
            const TensorStatistics& s = entry->statistics;
            const std::string axes = fmt::format("{}", fmt::join(entry->axes, " \xC3\x97 "));
            const std::string shape = fmt::format("[{}]", fmt::join(entry->shape, ", "));
            if (slide) {
                node.lines.push_back({axes, 0, false, ""});
                node.lines.push_back({shape, 0, false, ""});
            } else {
                node.lines.push_back({axes + " " + shape, 0, false, ""});
            }
            if (!slide)
                node.lines.push_back({statistics_text(s), 0, false, ""});
            const std::string odd = oddity(leaf, *entry);
            if (!odd.empty()) {
                node.kind = "odd";
                node.lines.push_back({"\xE2\x9A\xA0 " + odd, 0, true, ""});
                oddities.push_back(fmt::format("{}: {}", entry->name, odd));
            }
            const std::string chapter = chapter_link(chapter_of(entry->name), output);
            if (!chapter.empty() && !slide)
                node.lines.push_back({"chapter", graph.small_size - 1, false, chapter});
            const std::string file = entry->source.substr(0, entry->source.find(':'));
            node.tooltip = entry->name + (entry->source.empty() ? "" : "  " + entry->source);
            node.href = source_link(
                file.find("..") == std::string::npos && !file.starts_with("/") ? file : "", output);
        }
        graph.nodes.push_back(std::move(node));
    }

    // tanh(gate), read off what went in and what came out.
    std::optional<double> gate(const std::string& before, const std::string& after) const
    {
        const TraceEntry* in = entries.count(before) ? entries.at(before) : nullptr;
        const TraceEntry* out = entries.count(after) ? entries.at(after) : nullptr;
        if (!in || !out || in->shape != out->shape || in->step != out->step ||
            in->values == TraceValues::none || out->values == TraceValues::none)
            return std::nullopt;
        const std::vector<float> a = trace.load_kept(*in), b = trace.load_kept(*out);
        double product = 0, square = 0;
        for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
            if (b[i] != 0) {  // rows that a mask emptied say nothing about the gate
                product += static_cast<double>(a[i]) * b[i];
                square += static_cast<double>(a[i]) * a[i];
            }
        const double result = square > 0 ? product / square : 0;
        return std::isfinite(result) ? std::optional(result) : std::nullopt;
    }
};

bool number_after(const std::string& text, const std::string& prefix, std::int64_t& index)
{
    if (!text.starts_with(prefix))
        return false;
    const char* const first = text.data() + prefix.size();
    const auto [end, problem] = std::from_chars(first, text.data() + text.size(), index);
    return problem == std::errc() && end == text.data() + text.size() && end != first && index >= 0;
}

Where where_of(const LayerChoice& layer)
{
    switch (layer.kind) {
    case LayerChoice::Kind::text_cross:
        return in_text_cross;
    case LayerChoice::Kind::vision_local:
        return in_vision_local;
    case LayerChoice::Kind::vision_global:
        return in_vision_global;
    default:
        return in_text_self;
    }
}

// The rows of the model's graph that make up a layer; the last one is the layer's output.
std::vector<const Operation*> operations_of(const LayerChoice& layer)
{
    std::vector<const Operation*> rows;
    for (const Operation& operation : operations())
        if ((operation.where & where_of(layer)) != 0)
            rows.push_back(&operation);
    return rows;
}

// What a layer draws from elsewhere stands in nodes of its own: "in", "picture", "rope".
std::string node_of(const StepInput& input)
{
    switch (input.role) {
    case Role::image:
        return input.from == From::layer ? input.name : "picture";
    case Role::rope:
        return "rope";
    case Role::mask:
    case Role::ids:
        return "";
    default:
        return input.from == From::layer ? input.name : "in";
    }
}

const char* edge_kind(Role role)
{
    return role == Role::residual ? "residual"
           : role == Role::image  ? "picture"
           : role == Role::rope   ? "rope"
                                  : "flow";
}

// Finds the tensors of the layer's rows, and of what they draw from elsewhere.
void find_entries(LayerDrawing& d)
{
    const HasTensor has = [&](const std::string& name) { return d.find(name) != nullptr; };
    const GraphSizes no_sizes;  // a layer needs none
    d.entries["out"] = d.find(d.layer.prefix);
    for (const Operation* operation : operations_of(d.layer)) {
        const std::string leaf = operation->name;
        if (!leaf.empty())
            d.entries[leaf] = d.find(d.layer.prefix + "." + leaf);
        const auto names =
            named_inputs(leaf.empty() ? d.layer.prefix : d.layer.prefix + "." + leaf, no_sizes, has);
        for (std::size_t i = 0; i < operation->inputs.size(); ++i) {
            const std::string node = node_of(operation->inputs[i]);
            if (node == "in" || node == "picture" || node == "rope")
                d.entries.emplace(node, d.find(names[i].name));
        }
    }
}

void add_nodes(LayerDrawing& d)
{
    const bool first_vision = d.layer.index == 0 && (where_of(d.layer) & in_vision) != 0;
    d.add_node("in", first_vision ? "patches" : "hidden state in", "data");
    if (d.entries.count("picture"))
        d.add_node("picture", "projected image", "projector");
    if (d.entries.count("rope"))
        d.add_node("rope", "rotary angles", "norm");
    for (const Operation* operation : operations_of(d.layer)) {
        const std::string leaf = operation->name;
        if (leaf.empty())
            continue;
        std::string title = operation->title;
        const bool is_gate = title.find("tanh(gate)") != std::string::npos;
        if (const auto value = is_gate ? d.gate(operation->inputs[0].name, leaf) : std::nullopt)
            title += fmt::format(" = {:.4f}", *value);
        d.add_node(leaf, title, operation->colour);
    }
    d.add_node("out", "hidden state out", "data");
}

void add_edges(LayerDrawing& d)
{
    std::set<std::pair<std::string, std::string>> drawn;
    for (const Operation* operation : operations_of(d.layer))
        for (const StepInput& input : operation->inputs) {
            const std::string from = node_of(input), to = operation->name[0] ? operation->name : "out";
            if (from.empty() || !drawn.insert({from, to}).second)
                continue;
            const bool residual = input.role == Role::residual;
            const TraceEntry* entry = d.entries.count(from) ? d.entries.at(from) : nullptr;
            const std::string axes = residual ? "residual"
                                     : entry && !d.slide
                                         ? fmt::format("{}", fmt::join(entry->axes, "\xC2\xB7"))
                                         : "";
            d.graph.edges.push_back({identifier(from), identifier(to), edge_kind(input.role), axes,
                                     !d.slide || column_of(from) == column_of(to),
                                     !residual ? "weight=4"
                                     : d.slide ? "weight=0"
                                               : "weight=0, tailport=e, headport=e"});
        }
}

// From left to right: what attention reads, attention, the MLP. Edges that nobody sees keep this order.
void order_columns(LayerDrawing& d)
{
    std::vector<std::string> tops{"n_in"};
    for (const char* top : {"picture", "cross_attn.scores", "self_attn.scores", "post_attention_layernorm"})
        for (const GraphNode& node : d.graph.nodes)
            if (node.id == identifier(top))
                tops.push_back(node.id);
    for (std::size_t i = 1; i < tops.size(); ++i)
        d.graph.edges.push_back({tops[i - 1], tops[i], "flow", "", true, "style=invis"});
    d.graph.same_rank.push_back(tops);
}

}  // namespace

std::vector<std::string> layers_in(const Trace& trace)
{
    std::vector<std::string> result;
    static const std::vector<std::pair<std::string, std::string>> kinds{
        {"vision_model.transformer.layers.", "vision."},
        {"vision_model.global_transformer.layers.", "global."},
        {"language_model.layers.", ""}};
    for (const TraceEntry& entry : trace.entries()) {
        std::int64_t index = 0;
        std::string name;
        for (const auto& [prefix, kind] : kinds)  // a partial trace may lack the layer's own output
            if (entry.name.starts_with(prefix) &&
                number_after(entry.name.substr(0, entry.name.find('.', prefix.size())), prefix, index))
                name = fmt::format("{}{}", kind, index);
        if (!name.empty() && std::find(result.begin(), result.end(), name) == result.end())
            result.push_back(name);
    }
    return result;
}

LayerChoice choose_layer_graph(const Trace& trace, const std::string& text)
{
    LayerChoice layer;
    if (number_after(text, "vision.", layer.index)) {
        layer.kind = LayerChoice::Kind::vision_local;
        layer.prefix = fmt::format("vision_model.transformer.layers.{}", layer.index);
        layer.title = fmt::format("Vision layer {}", layer.index);
    } else if (number_after(text, "global.", layer.index)) {
        layer.kind = LayerChoice::Kind::vision_global;
        layer.prefix = fmt::format("vision_model.global_transformer.layers.{}", layer.index);
        layer.title = fmt::format("Global vision layer {}", layer.index);
    } else if (number_after(text, "text.", layer.index) || number_after(text, "", layer.index)) {
        layer.prefix = fmt::format("language_model.layers.{}", layer.index);
        layer.title = fmt::format("Text layer {}, self-attention", layer.index);
    } else {
        throw std::runtime_error(
            fmt::format("--layer {}: a number, vision.N or global.N would be right", visible_text(text)));
    }
    bool found = false;
    for (const TraceEntry& entry : trace.entries()) {
        found = found || entry.name.starts_with(layer.prefix + ".");
        if (entry.name.starts_with(layer.prefix + ".cross_attn.")) {
            layer.kind = LayerChoice::Kind::text_cross;
            layer.title = fmt::format("Text layer {}, cross-attention", layer.index);
        }
    }
    if (!found)
        throw std::runtime_error(fmt::format("--layer {}: {} holds nothing of this layer; it has {}",
                                             visible_text(text), trace.folder().string(),
                                             fmt::join(layers_in(trace), ", ")));
    return layer;
}

Graph layer_graph(const Trace& trace, const LayerChoice& layer, std::int64_t step,
                  const std::filesystem::path& output, DiagramStyle style)
{
    LayerDrawing d{trace, layer, step, output, style == DiagramStyle::slide, {}, {}, {}};
    d.graph.title_size = d.slide ? 17 : 14;
    d.graph.small_size = d.slide ? 14 : 11;
    d.graph.edge_size = d.slide ? 12 : 9;
    d.graph.rank_gap = d.slide ? 0.2 : 0.28;
    find_entries(d);
    add_nodes(d);
    add_edges(d);
    if (d.slide)
        order_columns(d);
    d.graph.title = layer.title + fmt::format(", step {}", step);
    d.graph.attributes =
        "labelloc=t, labeljust=l, label=<<FONT POINT-SIZE=\"22\"><B>" + graph_text(d.graph.title) +
        "</B></FONT><BR ALIGN=\"LEFT\"/><FONT POINT-SIZE=\"12\">" +
        graph_text(
            d.oddities.empty()
                ? d.slide
                      ? "Each node: how it is made; axes and shape."
                      : "Each node: axes and shape; mean \xC2\xB1 standard deviation, smallest \xE2\x80\xA6 "
                        "largest."
                : fmt::format("Odd: {}", fmt::join(d.oddities, "; ")),
            300) +
        "</FONT><BR ALIGN=\"LEFT\"/><FONT POINT-SIZE=\"12\"> </FONT><BR ALIGN=\"LEFT\"/>>";
    return d.graph;
}

std::string layer_drawing(const Trace& trace, const LayerChoice& layer, std::int64_t step,
                          const std::filesystem::path& output, DiagramStyle style)
{
    const auto& steps = trace.steps();
    if (std::none_of(steps.begin(), steps.end(), [&](const TraceStep& s) { return s.index == step; }))
        throw std::runtime_error(fmt::format("--step {}: the trace has steps 0 to {}", step,
                                             steps.empty() ? 0 : steps.back().index));
    return lay_out_graph(layer_graph(trace, layer, step, output, style));
}

}  // namespace pictor
