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
#include "viz/drawing/svg.h"

namespace pictor {
namespace {

struct Wire {
    const char* from;  // a leaf of the layer, or "in" / "out" / "picture" / "rope"
    const char* to;
    const char* kind;
};

// A step of a kind of layer: the leaf its tensor bears, what the node is called, and its colour.
struct Operation {
    const char* leaf;
    const char* title;
    const char* kind;
};

using Operations = std::vector<Operation>;
using Wires = std::vector<Wire>;

const Operations text_self_operations{{"input_layernorm", "RMSNorm", "norm"},
                                      {"self_attn.q_proj", "Q projection", "self"},
                                      {"self_attn.k_proj", "K projection", "self"},
                                      {"self_attn.v_proj", "V projection", "self"},
                                      {"self_attn.rotated_q", "RoPE on Q", "norm"},
                                      {"self_attn.rotated_k", "RoPE on K", "norm"},
                                      {"self_attn.scores", "scores Q\xC2\xB7K", "self"},
                                      {"self_attn.masked_scores", "causal mask", "self"},
                                      {"self_attn.probs", "softmax", "self"},
                                      {"self_attn.context", "probabilities \xC3\x97 V", "self"},
                                      {"self_attn.o_proj", "output projection", "self"},
                                      {"residual", "add residual", "data"},
                                      {"post_attention_layernorm", "RMSNorm", "norm"},
                                      {"mlp.gate_proj", "gate projection", "head"},
                                      {"mlp.up_proj", "up projection", "head"},
                                      {"mlp.act_fn", "SiLU", "head"},
                                      {"mlp.gated", "gate \xC3\x97 up", "head"},
                                      {"mlp", "down projection", "head"}};
const Wires text_self_wires{{"in", "input_layernorm", "flow"},
                            {"input_layernorm", "self_attn.q_proj", "flow"},
                            {"input_layernorm", "self_attn.k_proj", "flow"},
                            {"input_layernorm", "self_attn.v_proj", "flow"},
                            {"self_attn.q_proj", "self_attn.rotated_q", "flow"},
                            {"self_attn.k_proj", "self_attn.rotated_k", "flow"},
                            {"rope", "self_attn.rotated_q", "rope"},
                            {"rope", "self_attn.rotated_k", "rope"},
                            {"self_attn.rotated_q", "self_attn.scores", "flow"},
                            {"self_attn.rotated_k", "self_attn.scores", "flow"},
                            {"self_attn.scores", "self_attn.masked_scores", "flow"},
                            {"self_attn.masked_scores", "self_attn.probs", "flow"},
                            {"self_attn.probs", "self_attn.context", "flow"},
                            {"self_attn.v_proj", "self_attn.context", "flow"},
                            {"self_attn.context", "self_attn.o_proj", "flow"},
                            {"self_attn.o_proj", "residual", "flow"},
                            {"in", "residual", "residual"},
                            {"residual", "post_attention_layernorm", "flow"},
                            {"post_attention_layernorm", "mlp.gate_proj", "flow"},
                            {"post_attention_layernorm", "mlp.up_proj", "flow"},
                            {"mlp.gate_proj", "mlp.act_fn", "flow"},
                            {"mlp.act_fn", "mlp.gated", "flow"},
                            {"mlp.up_proj", "mlp.gated", "flow"},
                            {"mlp.gated", "mlp", "flow"},
                            {"mlp", "out", "flow"},
                            {"residual", "out", "residual"}};

const Operations text_cross_operations{{"input_layernorm", "RMSNorm", "norm"},
                                       {"cross_attn.q_proj", "Q projection", "cross"},
                                       {"cross_attn.q_norm", "RMSNorm of Q, per head", "norm"},
                                       {"cross_attn.k_proj", "K of the picture", "projector"},
                                       {"cross_attn.k_norm", "RMSNorm of K, per head", "norm"},
                                       {"cross_attn.v_proj", "V of the picture", "projector"},
                                       {"cross_attn.scores", "scores Q\xC2\xB7K", "cross"},
                                       {"cross_attn.masked_scores", "mask of pictures and tiles", "cross"},
                                       {"cross_attn.probs", "softmax", "cross"},
                                       {"cross_attn.context", "probabilities \xC3\x97 V", "cross"},
                                       {"cross_attn.o_proj", "output projection", "cross"},
                                       {"cross_attn.gated", "\xC3\x97 tanh(gate)", "cross"},
                                       {"residual", "add residual", "data"},
                                       {"post_attention_layernorm", "RMSNorm", "norm"},
                                       {"mlp.gate_proj", "gate projection", "head"},
                                       {"mlp.up_proj", "up projection", "head"},
                                       {"mlp.act_fn", "SiLU", "head"},
                                       {"mlp.gated", "gate \xC3\x97 up", "head"},
                                       {"mlp", "down projection", "head"},
                                       {"mlp.gated_output", "row mask, \xC3\x97 tanh(gate)", "head"}};
const Wires text_cross_wires{{"in", "input_layernorm", "flow"},
                             {"input_layernorm", "cross_attn.q_proj", "flow"},
                             {"cross_attn.q_proj", "cross_attn.q_norm", "flow"},
                             {"picture", "cross_attn.k_proj", "picture"},
                             {"picture", "cross_attn.v_proj", "picture"},
                             {"cross_attn.k_proj", "cross_attn.k_norm", "picture"},
                             {"cross_attn.q_norm", "cross_attn.scores", "flow"},
                             {"cross_attn.k_norm", "cross_attn.scores", "picture"},
                             {"cross_attn.scores", "cross_attn.masked_scores", "flow"},
                             {"cross_attn.masked_scores", "cross_attn.probs", "flow"},
                             {"cross_attn.probs", "cross_attn.context", "flow"},
                             {"cross_attn.v_proj", "cross_attn.context", "picture"},
                             {"cross_attn.context", "cross_attn.o_proj", "flow"},
                             {"cross_attn.o_proj", "cross_attn.gated", "flow"},
                             {"cross_attn.gated", "residual", "flow"},
                             {"in", "residual", "residual"},
                             {"residual", "post_attention_layernorm", "flow"},
                             {"post_attention_layernorm", "mlp.gate_proj", "flow"},
                             {"post_attention_layernorm", "mlp.up_proj", "flow"},
                             {"mlp.gate_proj", "mlp.act_fn", "flow"},
                             {"mlp.act_fn", "mlp.gated", "flow"},
                             {"mlp.up_proj", "mlp.gated", "flow"},
                             {"mlp.gated", "mlp", "flow"},
                             {"mlp", "mlp.gated_output", "flow"},
                             {"mlp.gated_output", "out", "flow"},
                             {"residual", "out", "residual"}};

const Operations vision_operations{{"input_layernorm", "LayerNorm", "norm"},
                                   {"self_attn.q_proj", "Q projection", "local"},
                                   {"self_attn.k_proj", "K projection", "local"},
                                   {"self_attn.v_proj", "V projection", "local"},
                                   {"self_attn.scores", "scores Q\xC2\xB7K", "local"},
                                   {"self_attn.masked_scores", "mask where both are padding", "local"},
                                   {"self_attn.probs", "softmax", "local"},
                                   {"self_attn.context", "probabilities \xC3\x97 V", "local"},
                                   {"self_attn.o_proj", "output projection", "local"},
                                   {"self_attn.gated", "\xC3\x97 tanh(gate)", "global"},
                                   {"residual", "add residual", "data"},
                                   {"post_attention_layernorm", "LayerNorm", "norm"},
                                   {"mlp.fc1", "fc1", "head"},
                                   {"mlp.activation_fn", "GELU", "head"},
                                   {"mlp", "fc2", "head"},
                                   {"mlp.gated", "\xC3\x97 tanh(gate)", "global"}};
const Wires vision_wires{{"in", "input_layernorm", "flow"},
                         {"input_layernorm", "self_attn.q_proj", "flow"},
                         {"input_layernorm", "self_attn.k_proj", "flow"},
                         {"input_layernorm", "self_attn.v_proj", "flow"},
                         {"self_attn.q_proj", "self_attn.scores", "flow"},
                         {"self_attn.k_proj", "self_attn.scores", "flow"},
                         {"self_attn.scores", "self_attn.masked_scores", "flow"},
                         {"self_attn.masked_scores", "self_attn.probs", "flow"},
                         {"self_attn.probs", "self_attn.context", "flow"},
                         {"self_attn.v_proj", "self_attn.context", "flow"},
                         {"self_attn.context", "self_attn.o_proj", "flow"},
                         {"self_attn.o_proj", "self_attn.gated", "flow"},
                         {"self_attn.gated", "residual", "flow"},
                         {"in", "residual", "residual"},
                         {"residual", "post_attention_layernorm", "flow"},
                         {"post_attention_layernorm", "mlp.fc1", "flow"},
                         {"mlp.fc1", "mlp.activation_fn", "flow"},
                         {"mlp.activation_fn", "mlp", "flow"},
                         {"mlp", "mlp.gated", "flow"},
                         {"mlp.gated", "out", "flow"},
                         {"residual", "out", "residual"}};

std::string identifier(const std::string& leaf)
{
    std::string id = "n_";
    for (const char c : leaf)
        id += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    return id;
}

std::string short_number(double value) { return fmt::format("{:.3g}", value); }

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

    void add_node(const std::string& leaf, const std::string& title, const std::string& kind)
    {
        const TraceEntry* entry = entries.count(leaf) ? entries.at(leaf) : nullptr;
        GraphNode node;
        node.id = identifier(leaf);
        node.kind = kind;
        node.lines.push_back({title, 0, true, ""});
        if (entry) {
            const TensorStatistics& s = entry->statistics;
            node.lines.push_back(
                {fmt::format("{} [{}]", fmt::join(entry->axes, " \xC3\x97 "), fmt::join(entry->shape, ", ")),
                 0, false, ""});
            node.lines.push_back({fmt::format("{} \xC2\xB1 {}  |  {} \xE2\x80\xA6 {}", short_number(s.mean),
                                              short_number(s.std), short_number(s.min), short_number(s.max)),
                                  0, false, ""});
            const std::string odd = oddity(leaf, *entry);
            if (!odd.empty()) {
                node.kind = "odd";
                node.lines.push_back({"\xE2\x9A\xA0 " + odd, 0, true, ""});
                oddities.push_back(fmt::format("{}: {}", entry->name, odd));
            }
            const std::string chapter = chapter_link(entry->chapter, output);
            if (!chapter.empty())
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

std::string input_name(const LayerChoice& layer)
{
    switch (layer.kind) {
    case LayerChoice::Kind::text_self:
    case LayerChoice::Kind::text_cross:
        return layer.index == 0 ? "language_model.embed_tokens"
                                : fmt::format("language_model.layers.{}", layer.index - 1);
    case LayerChoice::Kind::vision_local:
        return layer.index == 0 ? "vision_model.layernorm_pre"
                                : fmt::format("vision_model.transformer.layers.{}", layer.index - 1);
    case LayerChoice::Kind::vision_global:
        return layer.index == 0 ? "vision_model.post_tile_positional_embedding"
                                : fmt::format("vision_model.global_transformer.layers.{}", layer.index - 1);
    }
    return "";
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
                  const std::filesystem::path& output)
{
    LayerDrawing d{trace, layer, step, output, {}, {}, {}};
    d.graph.title_size = 14;
    d.graph.small_size = 11;
    d.graph.edge_size = 9;
    d.graph.rank_gap = 0.28;
    const bool is_vision =
        layer.kind == LayerChoice::Kind::vision_local || layer.kind == LayerChoice::Kind::vision_global;
    const bool is_cross = layer.kind == LayerChoice::Kind::text_cross;
    const Operations& operations = is_vision  ? vision_operations
                                   : is_cross ? text_cross_operations
                                              : text_self_operations;
    const Wires& wires = is_vision ? vision_wires : is_cross ? text_cross_wires : text_self_wires;
    d.entries["in"] = d.find(input_name(layer));
    d.entries["out"] = d.find(layer.prefix);
    if (is_cross)
        d.entries["picture"] = d.find("multi_modal_projector");
    if (!is_vision && !is_cross)
        d.entries["rope"] = d.find("language_model.rotary_emb.cos");
    for (const Operation& operation : operations)
        d.entries[operation.leaf] = d.find(layer.prefix + "." + operation.leaf);

    // A layer without gates has no gated nodes, and their wires run through.
    std::map<std::string, std::string> stands_for;
    if (layer.kind == LayerChoice::Kind::vision_local)
        stands_for = {{"self_attn.gated", "self_attn.o_proj"}, {"mlp.gated", "mlp"}};
    d.add_node("in", is_vision && layer.index == 0 ? "patches" : "hidden state in", "data");
    if (is_cross)
        d.add_node("picture", "projected picture", "projector");
    if (d.entries.count("rope"))
        d.add_node("rope", "rotary angles", "norm");
    for (const Operation& operation : operations) {
        if (stands_for.count(operation.leaf))
            continue;
        const std::string leaf = operation.leaf;
        std::string title = operation.title;
        const bool is_gate = title.find("tanh(gate)") != std::string::npos;
        if (const auto value = is_gate ? d.gate(leaf.starts_with("mlp") ? "mlp"
                                                : is_vision             ? "self_attn.o_proj"
                                                                        : "cross_attn.o_proj",
                                                leaf)
                                       : std::nullopt)
            title += fmt::format(" = {:.4f}", *value);
        d.add_node(leaf, title, operation.kind);
    }
    d.add_node("out", "hidden state out", "data");

    std::set<std::pair<std::string, std::string>> drawn;
    for (const Wire& wire : wires) {
        const std::string from = stands_for.count(wire.from) ? stands_for[wire.from] : wire.from,
                          to = stands_for.count(wire.to) ? stands_for[wire.to] : wire.to;
        if (from == to || !drawn.insert({from, to}).second)
            continue;
        const TraceEntry* entry = d.entries.count(from) ? d.entries.at(from) : nullptr;
        const std::string axes = entry && std::string(wire.kind) != "residual"
                                     ? fmt::format("{}", fmt::join(entry->axes, "\xC2\xB7"))
                                 : std::string(wire.kind) == "residual" ? "residual"
                                                                        : "";
        d.graph.edges.push_back(
            {identifier(from), identifier(to), wire.kind, axes, true,
             std::string(wire.kind) == "residual" ? "weight=0, tailport=e, headport=e" : "weight=4"});
    }
    d.graph.title = layer.title + fmt::format(", step {}", step);
    d.graph.attributes =
        "labelloc=t, labeljust=l, label=<<FONT POINT-SIZE=\"22\"><B>" + graph_text(d.graph.title) +
        "</B></FONT><BR ALIGN=\"LEFT\"/><FONT POINT-SIZE=\"12\">" +
        graph_text(
            d.oddities.empty()
                ? "Each node: axes and shape; mean \xC2\xB1 standard deviation, smallest \xE2\x80\xA6 largest."
                : fmt::format("Odd: {}", fmt::join(d.oddities, "; ")),
            300) +
        "</FONT><BR ALIGN=\"LEFT\"/>>";
    return d.graph;
}

std::string layer_drawing(const Trace& trace, const LayerChoice& layer, std::int64_t step,
                          const std::filesystem::path& output)
{
    const auto& steps = trace.steps();
    if (std::none_of(steps.begin(), steps.end(), [&](const TraceStep& s) { return s.index == step; }))
        throw std::runtime_error(fmt::format("--step {}: the trace has steps 0 to {}", step,
                                             steps.empty() ? 0 : steps.back().index));
    return lay_out_graph(layer_graph(trace, layer, step, output));
}

}  // namespace pictor
