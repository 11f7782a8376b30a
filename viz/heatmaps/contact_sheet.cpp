#include "viz/heatmaps/contact_sheet.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/heatmap_figure.h"

namespace pictor {
namespace {

constexpr double margin = 36;

struct Cell {
    Heat heat;
    double x = 0, y = 0;
    double scale = 0;  // 0: the sheet's
};

struct Grid {
    bool with_spread = false;  // says under each cell how far its attention spreads
    std::vector<Cell> cells;
    std::vector<std::pair<std::string, double>> row_names;  // name, y of the middle
    struct ColumnName {
        std::string name;
        double x = 0, y = 0;  // middle, top
    };
    std::vector<ColumnName> column_names;
    double left = 0, width = 0, height = 0, cell_width = 0, cell_height = 0;
    bool scale_by_column = false;
};

void cell_size(const PictureGeometry& g, double most, Grid& grid)
{
    const Box box = fit(g.width, g.height, {0, 0, most, most});
    grid.cell_width = box.width;
    grid.cell_height = box.height;
}

std::string word_text(const Run& run, std::int64_t token)
{
    const std::string bare = trimmed(at(run.tokens(), token));
    return visible_text(bare.empty() ? at(run.tokens(), token) : bare, 14);
}

Heat heat_of(const Run& run, HeatRequest request, std::int64_t token)
{
    request.token = token;
    return make_heat(run, request);
}

constexpr double gap = 8;

// Columns of equal cells under names, rows beside names. What is wider than `most_columns` goes on below, in
// a further band.
Grid table(const std::vector<std::string>& rows, const std::vector<std::string>& columns,
           const PictureGeometry& g, double most, std::size_t most_columns, bool with_spread,
           const std::function<Heat(std::size_t, std::size_t)>& make)
{
    Grid grid;
    cell_size(g, most, grid);
    grid.with_spread = with_spread;
    const double down = grid.cell_height + gap + (with_spread ? 15 : 0);
    grid.left = 20;
    for (const std::string& name : rows)
        grid.left = std::max(grid.left, text_width(name, 14, true) + 16);
    const std::size_t bands = (columns.size() + most_columns - 1) / most_columns,
                      wide = (columns.size() + bands - 1) / bands;
    const double band_height = 34 + static_cast<double>(rows.size()) * down;
    for (std::size_t band = 0; band < bands; ++band) {
        const double band_top = static_cast<double>(band) * band_height;
        const std::size_t first = band * wide, last = std::min(columns.size(), first + wide);
        const auto left = [&](std::size_t column) {
            return grid.left + static_cast<double>(column - first) * (grid.cell_width + gap);
        };
        for (std::size_t column = first; column < last; ++column)
            grid.column_names.push_back({columns[column], left(column) + grid.cell_width / 2, band_top});
        for (std::size_t row = 0; row < rows.size(); ++row) {
            const double y = band_top + 26 + static_cast<double>(row) * down;
            grid.row_names.push_back({rows[row], y + grid.cell_height / 2 + 5});
            for (std::size_t column = first; column < last; ++column)
                grid.cells.push_back({make(row, column), left(column), y});
        }
    }
    grid.width = grid.left + static_cast<double>(wide) * (grid.cell_width + gap);
    grid.height = static_cast<double>(bands) * band_height - 8;
    return grid;
}

Grid strip(const Run& run, const std::vector<std::int64_t>& words, const HeatRequest& request,
           const PictureGeometry& g)
{
    Grid grid;
    cell_size(g, 150, grid);
    const auto columns =
        static_cast<std::size_t>(std::clamp(std::floor(1240 / (grid.cell_width + gap)), 1.0, 8.0));
    for (std::size_t i = 0; i < words.size(); ++i)
        grid.cells.push_back({heat_of(run, request, words[i]),
                              static_cast<double>(i % columns) * (grid.cell_width + gap),
                              26 + static_cast<double>(i / columns) * (grid.cell_height + 36)});
    grid.width = static_cast<double>(std::min(columns, words.size())) * (grid.cell_width + gap);
    grid.height = static_cast<double>((words.size() + columns - 1) / columns) * (grid.cell_height + 36);
    return grid;
}

void draw_cell(SvgPage& page, const Cell& cell, const Grid& grid, double x, double y, double scale,
               bool smooth, const Raster& picture)
{
    const int width = std::max(1, static_cast<int>(std::lround(2 * grid.cell_width))),
              height = std::max(1, static_cast<int>(std::lround(2 * grid.cell_height)));
    if (cell.heat.no_effect) {
        page.image(x, y, grid.cell_width, grid.cell_height, paint_no_effect(picture, width, height),
                   "no effect");
        page.text(x + grid.cell_width / 2, y + grid.cell_height / 2 + 4, "no effect",
                  {.size = 12, .colour = soft, .anchor = Anchor::middle});
        return;
    }
    page.image(x, y, grid.cell_width, grid.cell_height,
               paint_grid(picture, cell.heat.geometry, cell.heat.grid, width, height,
                          {.scale = scale, .smooth = smooth, .palette = Palette::heat}),
               "attention over the picture");
}

std::string scale_text(const HeatRequest& request, double scale)
{
    return request.heads == HeadChoice::entropy ? fmt::format("{:.2f} bits", scale)
           : request.weigh_values               ? fmt::format("{:.3g}", scale)
                                                : percent_text(scale);
}

std::string draw_sheet(const Grid& grid, const HeatRequest& request, const std::string& title,
                       const std::string& subtitle, const std::vector<std::string>& cell_names,
                       const OpenPicture& open, bool smooth, std::size_t left_out)
{
    double scale = 0;
    for (const Cell& cell : grid.cells)
        scale = std::max(scale, strongest(cell.heat));
    const double width = std::max(760.0, grid.width + 2 * margin - gap), top = 100;
    const double height = top + grid.height + 70 + (left_out > 0 ? 20 : 0);
    SvgPage page(width, height, title);
    page.rectangle(0, 0, width, height, "#ffffff");
    page.text(margin, 50, title, {.size = 22, .colour = ink, .bold = true});
    page.text(margin, 76, subtitle,
              {.size = std::min(14.0, 14 * (width - 2 * margin) / text_width(subtitle, 14)), .colour = soft});
    for (const auto& [name, y] : grid.row_names)
        page.text(margin + grid.left - 12, top + y, name,
                  {.size = 14, .colour = ink, .anchor = Anchor::end, .bold = true});
    for (const auto& [name, x, y] : grid.column_names)
        page.text(margin + x, top + y + 16, name, {.size = 13, .colour = ink, .anchor = Anchor::middle});
    std::map<std::int64_t, Raster> pictures;
    for (std::size_t i = 0; i < grid.cells.size(); ++i) {
        const Cell& cell = grid.cells[i];
        const std::int64_t picture = cell.heat.request.picture;
        if (!pictures.count(picture)) {
            const Raster whole = open(picture);
            pictures[picture] = scale > 0 && whole.width > 4 * grid.cell_width
                                    ? pictor::scale(whole, static_cast<int>(2 * grid.cell_width),
                                                    static_cast<int>(2 * grid.cell_height))
                                    : whole;
        }
        draw_cell(page, cell, grid, margin + cell.x, top + cell.y, cell.scale > 0 ? cell.scale : scale,
                  smooth, pictures.at(picture));
        if (grid.with_spread && !cell.heat.no_effect)
            page.text(margin + cell.x + grid.cell_width / 2, top + cell.y + grid.cell_height + 13,
                      fmt::format("{:.1f} bits", cell.heat.drawn_bits),
                      {.size = 11, .colour = soft, .anchor = Anchor::middle});
        if (i < cell_names.size()) {
            page.text(margin + cell.x + 2, top + cell.y - 8, cell_names[i],
                      {.size = 14, .colour = ink, .bold = true});
            const std::string most = cell.heat.no_effect ? "" : scale_text(request, strongest(cell.heat));
            if (text_width(cell_names[i], 14, true) + text_width(most, 11) + 8 < grid.cell_width)
                page.text(margin + cell.x + grid.cell_width, top + cell.y - 8, most,
                          {.size = 11, .colour = soft, .anchor = Anchor::end});
        }
    }
    draw_scale(page, margin, top + grid.height + 14, std::min(420.0, width - 2 * margin), Palette::heat, "0",
               grid.scale_by_column ? "highest" : scale_text(request, scale),
               grid.scale_by_column ? "one patch, each column its own" : "one patch, one scale for all");
    if (left_out > 0)
        page.text(margin, height - 16, fmt::format("{} more words of the answer are left out.", left_out),
                  {.size = 13, .colour = soft});
    return page.finish();
}

// Each column's strongest patch is the end of its scale, and stands in its name.
void scale_columns(Grid& grid, std::size_t n_columns, const HeatRequest& request)
{
    grid.scale_by_column = true;
    for (std::size_t column = 0; column < n_columns; ++column) {
        double scale = 0;
        for (std::size_t i = column; i < grid.cells.size(); i += n_columns)
            scale = std::max(scale, strongest(grid.cells[i].heat));
        for (std::size_t i = column; i < grid.cells.size(); i += n_columns)
            grid.cells[i].scale = scale;
        grid.column_names[column].name += " " + scale_text(request, scale);
    }
}

struct SheetParts {
    std::vector<std::int64_t> words;
    std::vector<std::string> names;
    HeatRequest request;  // with the picture of the whole sheet
    PictureGeometry geometry;
    std::size_t left_out = 0;
    std::string how;  // "attention x value norm", or nothing
    bool scale_by_head = false;
};

constexpr const char* read_from = "Each word was read from the row before it, which predicts it.";

std::string heads_sheet(const Run& run, const SheetParts& parts, const OpenPicture& open, bool smooth)
{
    const std::int64_t n_heads = run.n_heads(parts.request.layer);
    const std::int64_t shown = std::min<std::int64_t>(n_heads, 32);
    std::vector<std::string> columns;
    for (std::int64_t head = 0; head < shown; ++head)
        columns.push_back(fmt::format("head {}", head));
    columns.push_back("mean");
    Grid grid =
        table(parts.names, columns, parts.geometry, 92, 40, true, [&](std::size_t row, std::size_t column) {
            HeatRequest one = parts.request;
            one.heads = static_cast<std::int64_t>(column) < shown ? HeadChoice::one : HeadChoice::mean;
            one.head = static_cast<std::int64_t>(column);
            return heat_of(run, one, parts.words[row]);
        });
    HeatRequest plain = parts.request;
    plain.heads = HeadChoice::mean;
    if (parts.scale_by_head)
        scale_columns(grid, columns.size(), plain);
    return draw_sheet(
        grid, plain, fmt::format("Words \xC3\x97 heads of layer {}", parts.request.layer),
        fmt::format("cross-attention{}. {}{} Under each map: how far it spreads, of at most {:.1f} bits.",
                    parts.how, read_from,
                    shown < n_heads ? fmt::format(" The first {} of {} heads.", shown, n_heads) : "",
                    grid.cells.empty() ? 0 : grid.cells.back().heat.most_bits),
        {}, open, smooth, parts.left_out);
}

std::string layers_sheet(const Run& run, const SheetParts& parts, const OpenPicture& open, bool smooth)
{
    const std::int64_t n_heads = run.n_heads(parts.request.layer);
    std::vector<std::string> rows;
    for (const std::int64_t layer : run.cross_layers())
        rows.push_back(fmt::format("layer {}", layer));
    const Grid grid =
        table(rows, parts.names, parts.geometry, 104, 12, false, [&](std::size_t row, std::size_t column) {
            HeatRequest one = parts.request;
            one.layer = run.cross_layers()[row];
            return heat_of(run, one, parts.words[column]);
        });
    return draw_sheet(
        grid, parts.request, "Layers \xC3\x97 words",
        fmt::format("cross-attention, {}{}. {}", head_text(parts.request, n_heads), parts.how, read_from), {},
        open, smooth, parts.left_out);
}

}  // namespace

std::vector<std::int64_t> answer_words(const Run& run)
{
    std::vector<std::int64_t> words;
    for (std::int64_t token = std::max<std::int64_t>(1, run.n_prompt()); token < run.n_tokens(); ++token) {
        const std::string bare = trimmed(at(run.tokens(), token));
        if (!bare.empty() && !bare.starts_with("<|") && run.row_predicting(token))
            words.push_back(token);
    }
    return words;
}

std::string contact_sheet(const Run& run, Sheet sheet, const HeatRequest& request, const OpenPicture& open,
                          bool smooth, bool scale_by_head, std::size_t most_words)
{
    std::vector<std::int64_t> words = answer_words(run);
    if (words.empty())
        throw std::runtime_error(
            fmt::format("{}: the answer has no words to draw", run.trace().folder().string()));
    const std::size_t left_out = words.size() > most_words ? words.size() - most_words : 0;
    words.resize(words.size() - left_out);
    HeatRequest fixed = request;
    if (fixed.picture < 0)
        fixed.picture =
            heat_of(run, request, words.back()).request.picture;  // one picture for the whole sheet
    if (fixed.picture >= static_cast<std::int64_t>(run.pictures().size()))
        throw std::runtime_error(
            fmt::format("--image {}: the run has {} pictures", fixed.picture, run.pictures().size()));
    const PictureGeometry& g = at(run.pictures(), fixed.picture).geometry;
    std::vector<std::string> names;
    for (const std::int64_t word : words)
        names.push_back(word_text(run, word));
    const std::int64_t n_heads = run.n_heads(request.layer);
    const std::string how =
        request.weigh_values ? ", attention \xC3\x97 value norm \xC3\x97 |tanh gate|" : "";

    const SheetParts parts{words, names, fixed, g, left_out, how, scale_by_head};
    if (sheet == Sheet::heads)
        return heads_sheet(run, parts, open, smooth);
    if (sheet == Sheet::layers)
        return layers_sheet(run, parts, open, smooth);
    return draw_sheet(strip(run, words, fixed, g), request,
                      fmt::format("The whole answer, layer {}", request.layer),
                      fmt::format("cross-attention, {}{}. {} Beside each word: its strongest patch.",
                                  head_text(request, n_heads), how, read_from),
                      names, open, smooth, left_out);
}

}  // namespace pictor
