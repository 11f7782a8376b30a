#include "viz/heatmaps/heatmap_figure.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/colour_map.h"

namespace pictor {
namespace {

constexpr double page_width = 1000, margin = 40;
constexpr const char* hairline = "#d9dde5";

struct Layout {
    Box left, right;
    double bottom = 0;
};

// Side by side, or one above the other when the picture is very wide.
Layout panels(const PictureGeometry& g, double top)
{
    constexpr double gap = 24;
    const double width = page_width - 2 * margin;
    Layout layout;
    if (static_cast<double>(g.width) > 2.4 * static_cast<double>(g.height)) {
        const double height =
            std::min(300.0, width * static_cast<double>(g.height) / static_cast<double>(g.width));
        layout.left = fit(g.width, g.height, {margin, top, width, height});
        layout.right = fit(g.width, g.height, {margin, top + height + gap + 18, width, height});
        layout.bottom = layout.right.y + layout.right.height;
    } else {
        const double half = (width - gap) / 2;
        const double height =
            std::min(560.0, half * static_cast<double>(g.height) / static_cast<double>(g.width));
        layout.left = fit(g.width, g.height, {margin, top, half, height});
        layout.right = fit(g.width, g.height, {margin + half + gap, top, half, height});
        layout.bottom = top + height;
    }
    return layout;
}

void outline_patch(SvgPage& page, const Box& panel, const PictureGeometry& g, GridPlace place)
{
    const PictureRectangle r = rectangle_of(g, place);
    const double sx = panel.width / static_cast<double>(g.width),
                 sy = panel.height / static_cast<double>(g.height);
    const double x = panel.x + r.x0 * sx, y = panel.y + r.y0 * sy, w = (r.x1 - r.x0) * sx,
                 h = (r.y1 - r.y0) * sy;
    page.rectangle(x - 1, y - 1, w + 2, h + 2, "none", 2, "#111111", 3.4);
    page.rectangle(x - 1, y - 1, w + 2, h + 2, "none", 2, "#ffffff", 1.6);
}

Raster shown(const Raster& picture, const Box& panel)
{
    return scale(picture, std::max(1, static_cast<int>(std::lround(2 * panel.width))),
                 std::max(1, static_cast<int>(std::lround(2 * panel.height))));
}

// In gray print more and less look alike: patches that differ much bear their sign.
void mark_signs(SvgPage& page, const Box& panel, const PictureGeometry& g, const std::vector<double>& grid,
                double most)
{
    for (std::int64_t row = 0; row < g.grid_rows(); ++row)
        for (std::int64_t column = 0; column < g.grid_columns(); ++column) {
            const double value = at(grid, row * g.grid_columns() + column);
            const PictureRectangle r = rectangle_of(g, {row, column});
            const double sx = panel.width / static_cast<double>(g.width),
                         sy = panel.height / static_cast<double>(g.height);
            const double size = std::min(0.8 * std::min((r.x1 - r.x0) * sx, (r.y1 - r.y0) * sy), 18.0);
            if (r.empty() || size < 6 || most <= 0 || std::abs(value) < 0.15 * most)
                continue;
            page.text(panel.x + (r.x0 + r.x1) / 2 * sx, panel.y + (r.y0 + r.y1) / 2 * sy + 0.36 * size,
                      value > 0 ? "+" : "\xE2\x88\x92",
                      {.size = size, .colour = "#000000", .anchor = Anchor::middle, .bold = true});
        }
}

std::string head_words(const Heat& heat, std::int64_t n_heads)
{
    std::string text = head_text(heat.request, n_heads);
    if (heat.request.weigh_values)
        text += ", weighed by values";
    return text;
}

void draw_title(SvgPage& page, const std::string& title, const std::string& subtitle)
{
    const double room = page_width - 2 * margin;  // long names get smaller type, not a cut edge
    page.text(margin, 54, title,
              {.size = std::min(25.0, 25 * room / text_width(title, 25, true)), .colour = ink, .bold = true});
    page.text(margin, 82, subtitle,
              {.size = std::min(15.0, 15 * room / text_width(subtitle, 15)), .colour = soft});
}

std::string scale_end(const Heat& heat, double value)
{
    if (heat.request.heads == HeadChoice::entropy)
        return fmt::format("{:.2f} bits of at most {:.2f}", value, std::log2(double(heat.head_bits.size())));
    return heat.request.weigh_values ? fmt::format("{:.3g}", value) : percent_text(value);
}

const char* scale_name(const Heat& heat)
{
    return heat.request.heads == HeadChoice::entropy ? "entropy over heads at one patch"
           : heat.request.weigh_values               ? "weight of one patch"
                                                     : "attention on one patch";
}

std::vector<std::string> notes(const Run& run, const Heat& heat)
{
    std::vector<std::string> result{row_sentence(run, heat)};
    if (heat.no_effect && run.reference() == "transformers")
        result.push_back(
            "Under transformers' rules this row's cross-attention branch still averages over every key, "
            "padding included; it looked at nothing.");
    if (!heat.no_effect) {
        const auto [narrow, wide] = std::minmax_element(heat.head_bits.begin(), heat.head_bits.end());
        result.push_back(
            heat.request.heads == HeadChoice::one
                ? fmt::format("Spread of this head: {}.", spread_text(heat.drawn_bits, heat.most_bits))
                : fmt::format(
                      "Spread of single heads: {:.1f} bits (head {}) to {:.1f} bits (head {}). Of their "
                      "mean: {}.",
                      *narrow, narrow - heat.head_bits.begin(), *wide, wide - heat.head_bits.begin(),
                      spread_text(heat.drawn_bits, heat.most_bits)));
    }
    if (heat.request.heads == HeadChoice::max || heat.request.heads == HeadChoice::entropy)
        result.push_back("The ledger is that of the mean over heads: maxima and entropies do not add up.");
    if (heat.request.weigh_values)
        result.push_back(fmt::format(
            "Left: attention as it is. Right: weighed. Weight of a patch: attention \xC3\x97 norm of the "
            "value it moves \xC3\x97 |tanh(gate)|, which is {:.4f} here. The ledger counts these weights.",
            std::abs(heat.gate)));
    if (heat.gate_closed)
        result.push_back(
            "The gate is closed: tanh(gate) is 0, and nothing that was read reaches the residual.");
    if (std::abs(heat.row_sum - 1) > 0.01)
        result.push_back(fmt::format(
            "The recorded probabilities of this row add up to {:.4f}, not 1; the ledger gives shares of "
            "their sum.",
            heat.row_sum));
    return result;
}

double draw_notes(SvgPage& page, double y, const std::vector<std::string>& sentences)
{
    for (const std::string& sentence : sentences)
        for (const std::string& line : wrap_text(sentence, 14, page_width - 2 * margin)) {
            page.text(margin, y, line, {.size = 14, .colour = ink});
            y += 21;
        }
    return y;
}

void draw_no_effect(SvgPage& page, const Box& panel)
{
    const double cx = panel.x + panel.width / 2, cy = panel.y + panel.height / 2;
    page.rectangle(cx - 118, cy - 34, 236, 68, "#ffffff", 10, hairline, 1.2);
    page.text(cx, cy - 5, "no effect", {.size = 22, .colour = ink, .anchor = Anchor::middle, .bold = true});
    page.text(cx, cy + 18, "this row may see no picture",
              {.size = 13.5, .colour = soft, .anchor = Anchor::middle});
}

// The same row's attention as it is, with a scale of its own: what the weights of values change is seen
// beside it.
void draw_plain(SvgPage& page, const Run& run, const Heat& heat, const Raster& picture, const Box& panel,
                double scale_top, bool smooth)
{
    HeatRequest request = heat.request;
    request.weigh_values = false;
    const Heat plain = make_heat(run, request);
    const double most = strongest(plain);
    page.image(panel.x, panel.y, panel.width, panel.height,
               paint_grid(picture, plain.geometry, plain.grid, std::max(1, static_cast<int>(2 * panel.width)),
                          std::max(1, static_cast<int>(2 * panel.height)),
                          {.scale = most, .smooth = smooth, .palette = Palette::heat}),
               "plain attention over the picture");
    if (const auto place = strongest_place(plain))
        outline_patch(page, panel, plain.geometry, *place);
    draw_scale(page, margin, scale_top, 448, Palette::heat, "0", scale_end(plain, most), scale_name(plain));
}

// Everything below the panels; the page can only be made when its height is known, so this runs twice.
double draw_footer(SvgPage& page, double top, const Run& run, const Heat& heat,
                   const std::vector<std::string>& sentences)
{
    double y =
        top +
        draw_tokens(page, margin, top, page_width - 2 * margin, run, heat.request.token, heat.row.position) +
        18;
    if (heat.no_effect)
        y += 4;
    else
        y += draw_ledger(page, margin, y, page_width - 2 * margin, heat.ledger) + 30;
    return draw_notes(page, y, sentences) + 14;
}

// The heat on the right, outlined; on the left the picture, or plain attention where values were weighed.
void draw_heat(SvgPage& page, const Run& run, const Heat& heat, const Raster& picture,
               const FigureOptions& options, const Layout& layout, double scale_top)
{
    const auto& g = heat.geometry;
    const bool entropy = heat.request.heads == HeadChoice::entropy, beside = heat.request.weigh_values;
    const double most = options.scale > 0 ? options.scale : strongest(heat);
    const Raster painted =
        paint_grid(picture, g, heat.grid, std::max(1, static_cast<int>(2 * layout.right.width)),
                   std::max(1, static_cast<int>(2 * layout.right.height)),
                   {.scale = most, .smooth = options.smooth, .palette = Palette::heat});
    page.image(layout.right.x, layout.right.y, layout.right.width, layout.right.height, painted,
               "attention over the picture");
    if (beside)
        draw_plain(page, run, heat, picture, layout.left, scale_top, options.smooth);
    if (const auto place = strongest_place(heat)) {
        if (!beside)
            outline_patch(page, layout.left, g, *place);
        outline_patch(page, layout.right, g, *place);
    }
    const double width = std::min(448.0, page_width - 2 * margin);
    draw_scale(page, page_width - margin - width, scale_top, width, Palette::heat, "0", scale_end(heat, most),
               scale_name(heat));
    if (!beside)
        page.text(margin, scale_top + 11,
                  entropy ? "outlined: the patch that heads share most" : "outlined: the strongest patch",
                  {.size = 12.5, .colour = soft});
    if (options.smooth && !beside)
        page.text(margin, scale_top + 28, "smoothed between patch centres; the model sees whole patches",
                  {.size = 12.5, .colour = soft});
}

}  // namespace

std::string heatmap_figure(const Run& run, const Heat& heat, const Raster& picture,
                           const FigureOptions& options)
{
    const auto& g = heat.geometry;
    const std::string word = visible_text(run.word_at(heat.request.token), 40);
    const bool entropy = heat.request.heads == HeadChoice::entropy;
    const std::string title = fmt::format("{} layer {} {} before \xE2\x80\x9C{}\xE2\x80\x9D",
                                          entropy ? "Which patches the heads of" : "Where",
                                          heat.request.layer, entropy ? "shared" : "looked", word);
    const std::string file =
        std::filesystem::path(at(run.pictures(), heat.request.picture).file).filename().string();
    const std::string subtitle = fmt::format(
        "cross-attention, layer {}, {}   \xC2\xB7   {}, {} \xC3\x97 {} tiles, {} \xC3\x97 {} patches",
        heat.request.layer, head_words(heat, run.n_heads(heat.request.layer)), visible_text(file, 40),
        g.tile_rows, g.tile_columns, g.grid_rows(), g.grid_columns());
    const Layout layout = panels(g, 104);
    const double scale_top = layout.bottom + 16;
    const double footer_top = scale_top + (heat.no_effect ? 6 : 46);
    const std::vector<std::string> sentences = notes(run, heat);
    SvgPage measure(page_width, 10, "");
    const double height = draw_footer(measure, footer_top, run, heat, sentences);

    SvgPage page(page_width, height, title + ". " + row_sentence(run, heat));
    page.rectangle(0, 0, page_width, height, "#ffffff");
    draw_title(page, title, subtitle);
    const bool beside =
        heat.request.weigh_values && !heat.no_effect;  // plain attention in the picture's place
    if (!beside)
        page.image(layout.left.x, layout.left.y, layout.left.width, layout.left.height,
                   shown(picture, layout.left), "the picture");
    if (heat.no_effect) {
        page.image(layout.right.x, layout.right.y, layout.right.width, layout.right.height,
                   paint_no_effect(picture, static_cast<int>(2 * layout.right.width),
                                   static_cast<int>(2 * layout.right.height)),
                   "no effect: this row may see no picture");
        draw_no_effect(page, layout.right);
    } else {
        draw_heat(page, run, heat, picture, options, layout, scale_top);
    }
    draw_footer(page, footer_top, run, heat, sentences);
    return page.finish();
}

std::string vision_figure(const Run& run, const VisionHeat& heat, const Raster& picture,
                          const FigureOptions& options)
{
    const auto& g = heat.geometry;
    const std::string title = fmt::format("What one patch looked at in {}", heat.layer_title);
    const std::string file = std::filesystem::path(at(run.pictures(), heat.picture).file).filename().string();
    const std::string subtitle =
        fmt::format("vision self-attention, {}   \xC2\xB7   {}, patch at row {}, column {} of {} \xC3\x97 {}",
                    heat.head_text, visible_text(file, 40), heat.query.row, heat.query.column, g.grid_rows(),
                    g.grid_columns());
    const Layout layout = panels(g, 104);
    const double scale_top = layout.bottom + 16, footer_top = scale_top + 62;
    const std::vector<std::string> sentences{
        "All tiles of a picture attend to each other at once. Real patches attend to padding rows and "
        "absent tiles too: only where query and key are both padding is there a mask."};
    SvgPage measure(page_width, 10, "");
    const double ledger_height =
        draw_ledger(measure, margin, footer_top, page_width - 2 * margin, heat.ledger);
    const double height = draw_notes(measure, footer_top + ledger_height + 30, sentences) + 14;

    SvgPage page(page_width, height, title);
    page.rectangle(0, 0, page_width, height, "#ffffff");
    draw_title(page, title, subtitle);
    Heat shown_heat;
    shown_heat.geometry = g;
    shown_heat.grid = heat.grid;
    const double most = options.scale > 0 ? options.scale : strongest(shown_heat);
    page.image(layout.left.x, layout.left.y, layout.left.width, layout.left.height,
               shown(picture, layout.left), "the picture");
    page.image(layout.right.x, layout.right.y, layout.right.width, layout.right.height,
               paint_grid(picture, g, heat.grid, std::max(1, static_cast<int>(2 * layout.right.width)),
                          std::max(1, static_cast<int>(2 * layout.right.height)),
                          {.scale = most, .smooth = options.smooth, .palette = Palette::heat}),
               "attention over the picture");
    outline_patch(page, layout.left, g, heat.query);
    outline_patch(page, layout.right, g, heat.query);
    const double width = std::min(448.0, page_width - 2 * margin);
    draw_scale(page, page_width - margin - width, scale_top, width, Palette::heat, "0", percent_text(most),
               "attention on one patch");
    page.text(margin, scale_top + 11, "outlined: the patch that looks", {.size = 12.5, .colour = soft});
    draw_ledger(page, margin, footer_top, page_width - 2 * margin, heat.ledger);
    draw_notes(page, footer_top + ledger_height + 30, sentences);
    return page.finish();
}

std::string difference_figure(const Run& run, const Heat& heat, const Heat& other, const Raster& picture,
                              const std::string& name, const std::string& other_name,
                              const FigureOptions& options)
{
    const auto& g = heat.geometry;
    std::vector<double> grid(heat.grid.size());
    double most = 0;
    for (std::size_t i = 0; i < grid.size(); ++i) {
        grid[i] = heat.grid[i] - other.grid[i];
        most = std::max(most, std::abs(grid[i]));
    }
    const std::string word = visible_text(run.word_at(heat.request.token), 40);
    const std::string title = fmt::format("What differs before \xE2\x80\x9C{}\xE2\x80\x9D", word);
    const std::string subtitle =
        fmt::format("cross-attention, layer {}, {}   \xC2\xB7   {} minus {}", heat.request.layer,
                    head_words(heat, run.n_heads(heat.request.layer)), visible_text(name, 40),
                    visible_text(other_name, 40));
    const Layout layout = panels(g, 104);
    const double scale_top = layout.bottom + 16;
    std::vector<std::string> sentences{row_sentence(run, heat)};
    if (heat.no_effect || other.no_effect)
        sentences.push_back("A row that may see no picture counts as having read nothing.");
    if (most == 0)
        sentences.push_back("Not one patch differs.");
    SvgPage measure(page_width, 10, "");
    const double height = draw_footer(measure, scale_top + 46, run, heat, sentences);

    SvgPage page(page_width, height, title);
    page.rectangle(0, 0, page_width, height, "#ffffff");
    draw_title(page, title, subtitle);
    page.image(layout.left.x, layout.left.y, layout.left.width, layout.left.height,
               shown(picture, layout.left), "the picture");
    page.image(layout.right.x, layout.right.y, layout.right.width, layout.right.height,
               paint_grid(picture, g, grid, std::max(1, static_cast<int>(2 * layout.right.width)),
                          std::max(1, static_cast<int>(2 * layout.right.height)),
                          {.scale = options.scale > 0 ? options.scale : most,
                           .smooth = options.smooth,
                           .palette = Palette::difference}),
               "difference over the picture");
    mark_signs(page, layout.right, g, grid, most);
    const double end = options.scale > 0 ? options.scale : most;
    draw_scale(page, page_width - margin - 448, scale_top, 448, Palette::difference,
               "\xE2\x88\x92" + scale_end(heat, end), "+" + scale_end(heat, end), "difference on one patch");
    page.text(margin, scale_top + 11, fmt::format("The ledger is that of {}.", visible_text(name, 40)),
              {.size = 12.5, .colour = soft});
    draw_footer(page, scale_top + 46, run, heat, sentences);
    return page.finish();
}

}  // namespace pictor
