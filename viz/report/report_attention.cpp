#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/byte_alphabet.h"
#include "base/shown_text.h"
#include "viz/drawing/output.h"
#include "viz/drawing/raster.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/report/report_parts.h"

namespace pictor {

using Json = nlohmann::ordered_json;

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

namespace {

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

// What each row may see.
Json rows_json(const Run& run, const std::vector<RowPlace>& rows)
{
    Json result = Json::array();
    for (const RowPlace& row : rows) {
        Json sees = Json::array();
        for (std::size_t p = 0; p < run.pictures().size(); ++p)
            sees.push_back(run.row_sees(row, static_cast<std::int64_t>(p)));
        const auto n_keys = static_cast<std::int64_t>(run.cross_probs(run.cross_layers()[0], row)[0].size());
        result.push_back({{"position", row.position},
                          {"step", row.step},
                          {"kind", row.kind},
                          {"sees", std::move(sees)},
                          {"keys", run.keys_seen(row, n_keys)}});
    }
    return result;
}

}  // namespace

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
                append_map(maps, run, map < n_heads ? at(heads, map) : mean_over_heads(heads), max_tiles);
            }
        result["layers"].push_back(layer);
    }
    for (std::int64_t map = 0; with_heads && map < n_heads; ++map)
        result["maps"].push_back(fmt::format("head {}", map));
    result["maps"].push_back(fmt::format("mean of {} heads", n_heads));
    result["rows"] = rows_json(run, rows);
    result["largest"] = maps.largest;
    result["ledgers"] = std::move(maps.ledgers);
    result["spread"] = std::move(maps.spread);
    result["values"] = base64(maps.bytes);
    return result;
}

}  // namespace pictor
