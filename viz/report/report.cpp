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

namespace pictor {
namespace {

using Json = nlohmann::ordered_json;

struct LeftOut {
    std::vector<std::string> sentences;
    void add(const std::string& sentence) { sentences.push_back(sentence); }
};

Json tokens_json(const Run& run)
{
    Json tokens = Json::array();
    for (const std::string& token : run.tokens())
        tokens.push_back(visible_text(token, 200));
    return tokens;
}

Json pictures_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    Json pictures = Json::array();
    for (std::size_t i = 0; i < run.pictures().size(); ++i) {
        const RunPicture& picture = run.pictures()[i];
        const PictureGeometry& g = picture.geometry;
        Json entry{{"file", visible_text(std::filesystem::path(picture.file).filename().string(), 120)},
                   {"size", {g.height, g.width}},
                   {"resized", {g.resized_height, g.resized_width}},
                   {"tiles", {g.tile_rows, g.tile_columns}},
                   {"tile_size", g.tile_size},
                   {"patch_size", g.patch_size},
                   {"grid", {g.grid_rows(), g.grid_columns()}},
                   {"source", ""}};
        try {
            const Raster whole =
                load_picture(i == 0 && !options.picture.empty() ? options.picture : run.picture_file(i));
            if (whole.width != g.width || whole.height != g.height)
                throw std::runtime_error("has another size than the trace says");
            const double shrink = std::min(1.0, 900.0 / std::max(whole.width, whole.height));
            const Raster shown = scale(whole, std::max(1, static_cast<int>(whole.width * shrink)),
                                       std::max(1, static_cast<int>(whole.height * shrink)));
            const std::string png = encode_png(shown);
            entry["source"] = png.size() < 400000
                                  ? "data:image/png;base64," + base64(png)
                                  : "data:image/jpeg;base64," + base64(encode_jpeg(shown, 90));
        } catch (const std::runtime_error& problem) {
            left_out.add(fmt::format("Picture {} is shown as an empty grid: {}", i,
                                     visible_text(problem.what(), 300)));
        }
        pictures.push_back(std::move(entry));
    }
    return pictures;
}

// The maps as 16-bit numbers: value = stored / 65535 x the map's largest. Order: layer, map, row, patches of
// all pictures.
struct Maps {
    std::string bytes;
    std::vector<float> largest;
    Json ledgers = Json::array();
    Json spread = Json::array();  // bits of each map's attention
};

void append_map(Maps& maps, const Run& run, const std::vector<double>& keys, std::int64_t max_tiles)
{
    std::vector<double> values;
    Json ledger = Json::array();
    for (std::size_t p = 0; p < run.pictures().size(); ++p) {
        const auto& g = run.pictures()[p].geometry;
        const std::vector<double> grid = lay_out(g, keys, static_cast<std::int64_t>(p), max_tiles);
        values.insert(values.end(), grid.begin(), grid.end());
        Json parts = Json::array();
        for (const double percent :
             rounded_percentages(make_ledger(g, keys, static_cast<std::int64_t>(p), max_tiles)))
            parts.push_back(percent);
        ledger.push_back(std::move(parts));
    }
    const double most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
    maps.largest.push_back(static_cast<float>(most));
    maps.spread.push_back(std::round(1000 * entropy_bits(keys)) / 1000);
    maps.ledgers.push_back(std::move(ledger));
    for (const double value : values) {
        const auto stored = most > 0 ? static_cast<unsigned>(std::lround(value / most * 65535)) : 0u;
        maps.bytes += static_cast<char>(stored & 0xFF);
        maps.bytes += static_cast<char>(stored >> 8);
    }
}

std::vector<RowPlace> all_rows(const Run& run)
{
    std::vector<RowPlace> rows;
    for (std::int64_t position = 0; position < run.n_tokens(); ++position)
        if (const auto row = run.row_predicting(position + 1))
            rows.push_back(*row);
    return rows;
}

Json attention_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    Json result{{"layers", Json::array()}, {"maps", Json::array()}, {"rows", Json::array()}};
    if (run.cross_layers().empty() || run.pictures().empty())
        return result;
    std::vector<RowPlace> rows = all_rows(run);
    std::int64_t patches = 0;
    for (const RunPicture& picture : run.pictures())
        patches += picture.geometry.grid_rows() * picture.geometry.grid_columns();
    const std::int64_t n_heads = run.n_heads(run.cross_layers()[0]);
    const auto n_layers = static_cast<std::int64_t>(run.cross_layers().size());
    const std::int64_t per_map = 2 * patches * n_layers;
    bool with_heads =
        per_map * (n_heads + 1) * static_cast<std::int64_t>(rows.size()) <= options.attention_bytes;
    if (!with_heads)
        left_out.add(fmt::format(
            "Single heads are left out ({} heads would not fit); the maps are means over heads.", n_heads));
    const auto most_rows = static_cast<std::size_t>(std::max<std::int64_t>(
        1, options.attention_bytes / std::max<std::int64_t>(1, per_map * (with_heads ? n_heads + 1 : 1))));
    if (rows.size() > most_rows) {
        left_out.add(fmt::format("Maps of the first {} tokens are left out; the last {} fit.",
                                 rows.size() - most_rows, most_rows));
        rows.erase(rows.begin(), rows.end() - static_cast<std::ptrdiff_t>(most_rows));
    }
    Maps maps;
    for (const std::int64_t layer : run.cross_layers()) {
        if (run.n_heads(layer) != n_heads)
            throw std::runtime_error(fmt::format("{}: layer {} has {} heads, layer {} {}",
                                                 run.trace().folder().string(), layer, run.n_heads(layer),
                                                 run.cross_layers()[0], n_heads));
        std::vector<std::vector<std::vector<double>>> heads_of_rows;
        for (const RowPlace& row : rows)
            heads_of_rows.push_back(run.cross_probs(layer, row));
        for (std::int64_t map = with_heads ? 0 : n_heads; map <= n_heads; ++map)
            for (const auto& heads : heads_of_rows) {
                const std::int64_t max_tiles = run.max_tiles(static_cast<std::int64_t>(heads[0].size()));
                append_map(maps, run,
                           map < n_heads ? heads[static_cast<std::size_t>(map)] : mean_over_heads(heads),
                           max_tiles);
            }
        result["layers"].push_back(layer);
    }
    for (std::int64_t map = 0; with_heads && map < n_heads; ++map)
        result["maps"].push_back(fmt::format("head {}", map));
    result["maps"].push_back(fmt::format("mean of {} heads", n_heads));
    for (const RowPlace& row : rows) {
        Json sees = Json::array();
        for (std::size_t p = 0; p < run.pictures().size(); ++p)
            sees.push_back(run.row_sees(row, static_cast<std::int64_t>(p)));
        const auto n_keys = static_cast<std::int64_t>(run.cross_probs(run.cross_layers()[0], row)[0].size());
        result["rows"].push_back({{"position", row.position},
                                  {"step", row.step},
                                  {"kind", row.kind},
                                  {"sees", std::move(sees)},
                                  {"keys", run.keys_seen(row, n_keys)}});
    }
    result["largest"] = maps.largest;
    result["ledgers"] = std::move(maps.ledgers);
    result["spread"] = std::move(maps.spread);
    result["values"] = base64(maps.bytes);
    return result;
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

// The five likeliest next words after each step's last row.
Json steps_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    Json result = Json::array();
    std::vector<std::string> vocabulary = read_vocabulary(options.tokenizer);
    const nlohmann::json& header = run.trace().header();
    bool agrees = true;  // the tokenizer may belong to another model
    std::map<std::int64_t, std::string> known;
    std::int64_t position = 0;
    for (const char* part : {"prompt", "generated"})
        if (header.contains(part) && header[part].is_object() && header[part].contains("token_ids") &&
            header[part]["token_ids"].is_array())
            for (const auto& id : header[part]["token_ids"]) {
                if (id.is_number_integer() && position < run.n_tokens()) {
                    const std::int64_t number = id.get<std::int64_t>();
                    const std::string& text = run.tokens()[static_cast<std::size_t>(position)];
                    known[number] = text;
                    if (number >= 0 && number < static_cast<std::int64_t>(vocabulary.size()) &&
                        vocabulary[static_cast<std::size_t>(number)] != text)
                        agrees = false;
                }
                ++position;
            }
    if (!agrees)
        vocabulary.clear();
    const auto word = [&](std::int64_t id) {
        const auto found = known.find(id);
        if (found != known.end())
            return visible_text(found->second, 60);
        const bool named = id < static_cast<std::int64_t>(vocabulary.size()) &&
                           !vocabulary[static_cast<std::size_t>(id)].empty();
        return named ? visible_text(vocabulary[static_cast<std::size_t>(id)], 60) : fmt::format("#{}", id);
    };
    std::int64_t without = 0;
    for (const TraceStep& step : run.trace().steps()) {
        const TraceEntry* entry = run.trace().find("lm_head", step.index);
        if (!entry || !entry->whole() || entry->shape.size() != 2 || entry->shape[0] < 1 ||
            entry->shape[1] < 1 || entry->shape[1] > 10000000) {
            ++without;
            continue;
        }
        const std::int64_t n = entry->shape[1];
        const std::vector<float> logits = run.trace().load_range(*entry, (entry->shape[0] - 1) * n, n);
        if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) {
            ++without;
            continue;
        }
        std::vector<std::int64_t> order(logits.size());
        for (std::size_t i = 0; i < order.size(); ++i)
            order[i] = static_cast<std::int64_t>(i);
        const auto top = order.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, order.size()));
        std::partial_sort(order.begin(), top, order.end(), [&](std::int64_t a, std::int64_t b) {
            return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
        });
        const double most = logits[static_cast<std::size_t>(order[0])];
        double sum = 0;
        for (const float logit : logits)
            sum += std::exp(logit - most);
        Json words = Json::array();
        for (auto i = order.begin(); i != top; ++i)
            words.push_back({word(*i), std::exp(logits[static_cast<std::size_t>(*i)] - most) / sum});
        result.push_back({{"step", step.index},
                          {"position", step.first_token + step.token_count - 1},
                          {"words", std::move(words)}});
    }
    if (without > 0)
        left_out.add(fmt::format(
            "{} steps have no next words: their lm_head is not there whole or not finite.", without));
    return result;
}

std::string histogram(const Trace& trace, const TraceEntry& entry)
{
    constexpr int bins = 20;
    const TensorStatistics& s = entry.statistics;
    if (!(s.max > s.min))
        return "";
    std::vector<std::int64_t> counts(bins);
    for (const float value : trace.load_kept(entry))
        if (std::isfinite(value))
            ++counts[static_cast<std::size_t>(
                std::clamp(static_cast<int>((value - s.min) / (s.max - s.min) * bins), 0, bins - 1))];
    const std::int64_t most = *std::max_element(counts.begin(), counts.end());
    std::string text;
    for (const std::int64_t count : counts) {
        const auto height = most > 0 ? (count * 35 + most - 1) / most : 0;
        text += static_cast<char>(height < 10 ? '0' + height : 'a' + height - 10);
    }
    return text;
}

Json number_or_null(double value)
{
    return std::isfinite(value) ? Json(std::stod(fmt::format("{:.6g}", value))) : Json(nullptr);
}

Json tensors_json(const Run& run, const ReportOptions& options, LeftOut& left_out)
{
    const Trace& trace = run.trace();
    const auto& entries = trace.entries();
    const std::size_t count = std::min(entries.size(), static_cast<std::size_t>(options.most_tensors));
    if (count < entries.size())
        left_out.add(fmt::format("The table ends after {} of {} tensors.", count, entries.size()));
    std::int64_t numbers_left = 8000000, without = 0;
    Json result = Json::array();
    std::map<std::string, std::string> chapters;
    for (std::size_t i = 0; i < count; ++i) {
        const TraceEntry& entry = entries[i];
        const TensorStatistics& s = entry.statistics;
        std::string bars;
        if (entry.values != TraceValues::none && entry.kept() <= 100000 && entry.kept() <= numbers_left) {
            bars = histogram(trace, entry);
            numbers_left -= entry.kept();
        } else {
            ++without;
        }
        if (!chapters.count(entry.chapter))
            chapters[entry.chapter] = chapter_link(entry.chapter, options.output);
        std::string file = entry.source.substr(0, entry.source.find(':'));
        result.push_back({visible_text(entry.name, 200), entry.step,
                          visible_text(fmt::format("{}", fmt::join(entry.axes, " ")), 120), entry.shape,
                          visible_text(entry.dtype, 8), number_or_null(s.min), number_or_null(s.max),
                          number_or_null(s.mean), number_or_null(s.std), s.zeros, s.nonfinite, bars,
                          visible_text(entry.source, 120), visible_text(entry.chapter, 60)});
    }
    if (without > 0)
        left_out.add(fmt::format("{} tensors have no histogram: more than 100000 numbers each, or none kept.",
                                 without));
    Json links = Json::object();
    for (const auto& [chapter, link] : chapters)
        if (!link.empty())
            links[visible_text(chapter, 60)] = link;
    return {{"rows", std::move(result)}, {"chapters", std::move(links)}};
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
        graph.own_style = false;  // the page has it
        graph.id = "layer_" + std::string(name.find('.') == std::string::npos ? "text." : "") + name;
        std::replace(graph.id.begin(), graph.id.end(), '.', '_');
        return std::pair{layer.title, lay_out_graph(graph)};
    };
    std::int64_t bytes = 0;
    std::size_t drawn = 0;
    // Two at a time: Graphviz is a program of its own.
    for (std::size_t i = 0; i < layers.size() && bytes < options.graph_bytes; i += 2) {
        auto other = i + 1 < layers.size() ? std::async(std::launch::async, draw, layers[i + 1])
                                           : std::future<std::pair<std::string, std::string>>();
        std::vector<std::pair<std::string, std::string>> pair{draw(layers[i])};
        if (other.valid())
            pair.push_back(other.get());
        for (auto& [title, svg] : pair) {
            bytes += static_cast<std::int64_t>(svg.size());
            result.push_back({{"title", title}, {"svg", std::move(svg)}});
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

std::string nonce_of(const std::string& text)
{
    std::uint64_t hash = 14695981039346656037u;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    return fmt::format("{:016x}", hash);
}

}  // namespace

std::vector<std::string> read_vocabulary(const std::filesystem::path& tokenizer)
{
    std::ifstream stream(tokenizer);
    const nlohmann::json file =
        tokenizer.empty() || !stream ? nlohmann::json() : nlohmann::json::parse(stream, nullptr, false);
    std::vector<std::string> words;
    const auto put = [&](std::int64_t id, const std::string& text) {
        if (id < 0 || id > 1000000)
            return;
        if (static_cast<std::size_t>(id) >= words.size())
            words.resize(static_cast<std::size_t>(id) + 1);
        words[static_cast<std::size_t>(id)] = text;
    };
    if (!file.is_object() || !file.contains("model") || !file["model"].is_object() ||
        !file["model"].contains("vocab") || !file["model"]["vocab"].is_object())
        return words;
    for (const auto& [token, id] : file["model"]["vocab"].items())
        if (const auto bytes = bytes_of_token(token); bytes && id.is_number_integer())
            put(id.get<std::int64_t>(), *bytes);
    if (file.contains("added_tokens") && file["added_tokens"].is_array())
        for (const auto& token : file["added_tokens"])
            if (token.is_object() && token.contains("id") && token["id"].is_number_integer() &&
                token.contains("content") && token["content"].is_string())
                put(token["id"].get<std::int64_t>(), token["content"].get<std::string>());
    return words;
}

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
    data["first_word"] = first_word(run);
    data["steps"] = steps_json(run, options, left_out);
    data["tensors"] = tensors_json(run, options, left_out);
    data["graphs"] = graphs_json(run, options, left_out);
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
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'nonce-{0}'; script-src 'nonce-{0}'; base-uri 'none'; form-action 'none'\">\n",
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
