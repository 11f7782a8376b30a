#include "viz/report/report.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <future>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "base/byte_alphabet.h"
#include "base/shown_text.h"
#include "viz/drawing/colour_map.h"
#include "viz/drawing/output.h"
#include "viz/drawing/raster.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/graph.h"
#include "viz/graphs/layer_graph.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/report/report_parts.h"

namespace pictor {
namespace {

using Json = nlohmann::ordered_json;

Json tokens_json(const Run& run)
{
    Json tokens = Json::array();
    for (const std::string& token : run.tokens())
        tokens.push_back(visible_text(token, 200));
    return tokens;
}

// The word a reader sees first: the answer's most pointed one. -1: none may see a picture.
std::int64_t first_word(const Run& run)
{
    try {
        return run.pictures().empty() || run.cross_layers().empty()
                   ? -1
                   : most_pointed_token(run, run.cross_layers().back());
    } catch (const std::runtime_error&) {
        return -1;
    }
}

// The sizes that the tour speaks of; 0 where the trace does not say.
Json model_json(const nlohmann::json& header)
{
    const auto number = [&](const char* part, const char* field) -> std::int64_t {
        const auto pointer = nlohmann::json::json_pointer("/model") / part / field;
        return header.contains(pointer) && header[pointer].is_number_integer()
                   ? header[pointer].get<std::int64_t>()
                   : 0;
    };
    return {{"vision_layers", number("vision", "n_layers")},
            {"global_layers", number("vision", "n_global_layers")},
            {"width", number("text", "d_model")}};
}

// Chapters that explain the page's words, where the book stands in this checkout.
Json book_json(const ReportOptions& options)
{
    Json links = Json::object();
    for (const char* chapter : {"cross-attention", "self-attention", "lm-head", "patch-embedding", "heatmap"})
        if (const std::string link = chapter_link(chapter, options.output); !link.empty())
            links[chapter] = link;
    return links;
}

Json graphs_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    Json result = Json::array();
    if (!options.layer_graphs)
        return result;
    const std::vector<std::string> layers = layers_in(run.trace());
    const auto draw = [&](const std::string& name) {
        const LayerChoice layer = choose_layer_graph(run.trace(), name);
        Graph graph = layer_graph(run.trace(), layer, 0, options.output);
        // The page has the style; a box there opens its tensor, and that has the links.
        graph.own_style = false;
        for (GraphNode& node : graph.nodes) {
            node.href.clear();
            std::erase_if(node.lines, [](const LabelLine& line) { return !line.href.empty(); });
        }
        graph.id = "layer_" + std::string(name.find('.') == std::string::npos ? "text." : "") + name;
        std::replace(graph.id.begin(), graph.id.end(), '.', '_');
        return std::pair{layer, lay_out_graph(graph)};
    };
    std::int64_t bytes = 0;
    std::size_t drawn = 0;
    // Two at a time: Graphviz is a program of its own.
    for (std::size_t i = 0; i < layers.size() && bytes < options.graph_bytes; i += 2) {
        auto other = i + 1 < layers.size() ? std::async(std::launch::async, draw, layers[i + 1])
                                           : std::future<std::pair<LayerChoice, std::string>>();
        std::vector<std::pair<LayerChoice, std::string>> pair{draw(layers[i])};
        if (other.valid())
            pair.push_back(other.get());
        for (auto& [layer, svg] : pair) {
            bytes += static_cast<std::int64_t>(svg.size());
            result.push_back({{"title", layer.title}, {"prefix", layer.prefix}, {"svg", std::move(svg)}});
            ++drawn;
        }
    }
    if (drawn < layers.size())
        left_out.add(fmt::format("Graphs of {} of {} layers are left out; `viz layer` draws them.",
                                 layers.size() - drawn, layers.size()));
    return result;
}

std::string colour_table()
{
    std::string table;
    for (int i = 0; i < 256; ++i)
        table += hex(heat_colour(i / 255.0)).substr(1);
    return table;
}

// JSON that may stand inside a script element: no markup can end it.
std::string embedded_json(const Json& data)
{
    std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
    std::string safe;
    safe.reserve(text.size());
    for (const char c : text) {
        if (c == '<')
            safe += "\\u003c";
        else if (c == '>')
            safe += "\\u003e";
        else if (c == '&')
            safe += "\\u0026";
        else
            safe += c;
    }
    return safe;
}

}  // namespace

Json report_data(const Run& run, const ReportOptions& options)
{
    LeftOut left_out;
    const nlohmann::json& header = run.trace().header();
    const auto text_of = [&](const char* key) {
        return header.contains(key) && header[key].is_string()
                   ? visible_text(header[key].get<std::string>(), 80)
                   : std::string();
    };
    Json data;
    data["name"] = visible_text(
        std::filesystem::absolute(run.trace().folder() / "x").parent_path().filename().string(), 80);
    data["reference"] = text_of("reference");
    data["producer"] = text_of("producer");
    data["tokens"] = tokens_json(run);
    data["n_prompt"] = run.n_prompt();
    data["pictures"] = pictures_json(run, options, left_out);
    data["attention"] = attention_json(run, options, left_out);
    data["self_attention"] = self_attention_json(run, options, left_out);
    data["gates"] = gates_json(run);
    data["model"] = model_json(header);
    data["book"] = book_json(options);
    data["first_word"] = first_word(run);
    data["steps"] = steps_json(run, options, left_out);
    data["tensors"] = tensors_json(run, options, left_out);
    data["graphs"] = graphs_json(run, options, left_out);
    data["numbers"] = numbers_json(run, options, data["first_word"].get<std::int64_t>(), left_out);
    data["colours"] = colour_table();
    data["shades"] = ledger_colours;
    data["left_out"] = left_out.sentences;
    return data;
}

std::string report_page(const Run& run, const ReportOptions& options)
{
    const Json data = report_data(run, options);
    const std::string json = embedded_json(data);
    const std::string nonce = nonce_of(json);
    std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                       "<meta name=\"color-scheme\" content=\"light dark\">\n";
    page += fmt::format(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
        "style-src 'nonce-{0}'; script-src 'nonce-{0}'; base-uri 'none'; form-action 'none'\">\n",
        nonce);
    page += "<title>" + escape_markup(data["name"].get<std::string>()) + ": a run, opened up</title>\n";
    page += fmt::format(
        "<link rel=\"icon\" href=\"data:,\">\n<style nonce=\"{}\">{}{}</style>\n</head>\n<body>\n", nonce,
        report_style, graph_style_sheet());
    page += report_body;
    page += "<script type=\"application/json\" id=\"data\">" + json + "</script>\n";
    page += fmt::format("<script nonce=\"{}\">{}</script>\n</body>\n</html>\n", nonce, report_script);
    return page;
}

}  // namespace pictor
