#include "viz/graphs/corrections.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/architecture_boxes.h"

namespace pictor {
namespace {

constexpr const char* times = "\xC3\x97";

// 6404 -> "6,404"
std::string grouped(std::int64_t number)
{
    std::string digits = fmt::format("{}", number);
    for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > 0; i -= 3)
        digits.insert(static_cast<std::size_t>(i), ",");
    return digits;
}

// Sizes of type and boxes: large and few for a slide.
struct Look {
    double width, height;  // height 0: as high as it needs
    double margin, gutter, type, title;
    double line() const { return type * 1.32; }
    double column() const { return (width - 2 * margin - gutter) / 2; }
};

struct PlacedBox {
    double x = 0, y = 0, width = 0, height = 0;
};

std::string class_text(const char* name, double x, double y, double size, const char* colour,
                       const std::string& words, const std::string& more = "")
{
    return fmt::format(
        "<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" fill=\"{}\"{}>{}</text>\n", name, x, y,
        size, colour, more, escape_markup(words));
}

// Width of the text inside a box: beside the stripe, and beside the numbered disc.
double text_room(const Look& look) { return look.column() - 5.2 * look.type; }

double height_of(const Look& look, const Correction& c)
{
    const std::size_t lines =
        1 + (c.said.empty() ? 0 : wrap_text("said: " + c.said, look.type, text_room(look)).size()) +
        wrap_text(c.is, look.type, 0.93 * text_room(look)).size();
    return static_cast<double>(lines) * look.line() + 0.75 * look.type;
}

void draw_box(SvgPage& page, const Look& look, const Correction& c, const PlacedBox& box)
{
    page.raw(fmt::format(
        "<rect class=\"plain\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"6\" "
        "fill=\"#ffffff\" stroke=\"#4d535e\" stroke-width=\"1.2\"/>\n",
        box.x, box.y, box.width, box.height));
    page.raw(legend_box(c.kind, box.x, box.y, look.type * 1.1, box.height));
    if (c.number > 0) {
        const double radius = look.type * 0.8, cx = box.x + box.width - radius - 0.5 * look.type,
                     cy = box.y + radius + 0.5 * look.type;
        page.raw(
            fmt::format("<rect class=\"number\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
                        "rx=\"{:.1f}\" fill=\"#9e3d52\"/>\n",
                        cx - radius, cy - radius, 2 * radius, 2 * radius, radius));
        page.raw(class_text("onto", cx, cy + 0.36 * look.type, look.type, "#ffffff",
                            fmt::format("{}", c.number), " text-anchor=\"middle\" font-weight=\"bold\""));
    }
    const double x = box.x + 2.0 * look.type;
    double y = box.y + 1.25 * look.type;
    page.raw(class_text("title", x, y, look.type, "#1d2230", c.title, " font-weight=\"bold\""));
    if (!c.said.empty())
        for (const std::string& line : wrap_text("said: " + c.said, look.type, text_room(look)))
            page.raw(class_text("soft", x, y += look.line(), look.type, "#5b6475", line,
                                " font-style=\"italic\""));
    for (const std::string& line : wrap_text(c.is, look.type, 0.93 * text_room(look)))
        page.raw(class_text("title", x, y += look.line(), look.type, "#1d2230", line,
                            c.said.empty() ? "" : " font-weight=\"bold\""));
}

void draw_arrow(SvgPage& page, const char* kind, double x0, double y0, double x1, double y1)
{
    const char* const colour = std::string(kind) == "picture" ? "#5f3d8e" : "#4a5363";
    const double size = std::string(kind) == "picture" ? 9 : 6,
                 width = std::string(kind) == "picture" ? 3 : 1.6;
    const bool down = x0 == x1;
    const double sign = x1 < x0 ? 1 : -1;
    page.raw(fmt::format(
        "<g class=\"edge {}\"><path d=\"M{:.1f},{:.1f} L{:.1f},{:.1f}\" stroke=\"{}\" stroke-width=\"{}\" "
        "fill=\"none\"/>",
        kind, x0, y0, down ? x1 : x1 + sign * size, down ? y1 - size : y1, colour, width));
    page.raw(
        down ? fmt::format(
                   "<polygon points=\"{0:.1f},{1:.1f} {2:.1f},{3:.1f} {4:.1f},{3:.1f}\" fill=\"{5}\"/></g>\n",
                   x1, y1, x1 - size, y1 - 1.6 * size, x1 + size, colour)
             : fmt::format(
                   "<polygon points=\"{0:.1f},{1:.1f} {2:.1f},{3:.1f} {2:.1f},{4:.1f}\" fill=\"{5}\"/></g>\n",
                   x1, y1, x1 + sign * 1.6 * size, y1 - size, y1 + size, colour));
}

// The boxes of one side, from the top; arrows between them. Spread over `height` when there is room.
std::vector<PlacedBox> draw_side(SvgPage& page, const Look& look, const std::vector<Correction>& side,
                                 double x, double top, double height)
{
    double used = 0;
    for (const Correction& c : side)
        used += height_of(look, c);
    const double gap = std::max(1.1 * look.type, (height - used) / static_cast<double>(side.size() - 1));
    std::vector<PlacedBox> boxes;
    double y = top;
    for (const Correction& c : side) {
        const PlacedBox box{x, y, look.column(), height_of(look, c)};
        draw_box(page, look, c, box);
        if (!boxes.empty())
            draw_arrow(page, "flow", x + look.column() / 2, boxes.back().y + boxes.back().height,
                       x + look.column() / 2, y);
        boxes.push_back(box);
        y += box.height + gap;
    }
    return boxes;
}

double side_height(const Look& look, const std::vector<Correction>& side)
{
    double used = 1.1 * look.type * static_cast<double>(side.size() - 1);
    for (const Correction& c : side)
        used += height_of(look, c);
    return used;
}

}  // namespace

std::vector<Correction> text_corrections(const ModelSizes& s)
{
    const auto n_cross = static_cast<std::int64_t>(s.cross_layers.size());
    return {
        {1, "data", "prompt", "the words you typed",
         "your words in the chat template, with <|image|> in front: the first rows see no picture"},
        {2, "embedding", "embedding table", fmt::format("{} {} {}", "128K", times, s.d_text),
         fmt::format("{} rows for tokens and 8 more: <|image|> can be read, never written",
                     grouped(s.n_vocabulary))},
        {3, "norm", "RoPE", "one box, after the embedding",
         fmt::format(
             "inside each of the {} self-attention layers, on queries and keys; in no cross-attention",
             s.n_text_layers - n_cross)},
        {4, "cross", "decoder layers",
         fmt::format("{} self-attention layers, then {} of cross-attention", s.n_text_layers - n_cross,
                     n_cross),
         fmt::format(
             "{} self and {} cross layers in one row: cross at {}, in place of a self layer, each branch "
             "\xC2\xB7 tanh(gate)",
             s.n_text_layers - n_cross, n_cross, list_text(s.cross_layers))},
        {0, "head", "RMSNorm, LM head, next word", "",
         fmt::format("scores for {} tokens; the word goes in again, keys and values are kept",
                     grouped(s.n_vocabulary))},
    };
}

std::vector<Correction> picture_corrections(const ModelSizes& s)
{
    return {
        {5, "data", "picture", fmt::format("one picture, shrunk to 224 {} 224", times),
         fmt::format("keeps its shape: up to {} tiles of {} {} {}, in one of {} grids, padded", s.max_tiles,
                     s.tile_size, times, s.tile_size, s.n_aspect_ratios)},
        {6, "embedding", "patches", fmt::format("14 {} 14 patches", times),
         fmt::format("{} {} {} patches of {} px in each tile, and a class token: {} rows a tile",
                     s.patches_per_side(), times, s.patches_per_side(), s.patch_size,
                     grouped(s.n_patches()))},
        {7, "embedding", "+ aspect ratio", "added once",
         "three times, each with a gate: before the class token, with the positions, after the local layers"},
        {8, "global", "vision encoder", fmt::format("{} layers, global ones optional", s.n_local_layers),
         fmt::format(
             "{} local layers, then {} global ones, gated, not optional; in both every tile sees every tile",
             s.n_local_layers, s.n_global_layers)},
        {9, "projector", "what the words look at", fmt::format("6272+ image tokens, {} wide", s.d_vision),
         fmt::format(
             "{} {} {} = {} keys beside the sequence, absent tiles masked; {} wide: the last state and the "
             "inputs of layers {}",
             s.max_tiles, times, grouped(s.n_patches()), grouped(s.max_tiles * s.n_patches()),
             grouped(s.d_vision_output()), list_text(s.kept_layers))},
    };
}

std::string corrections_drawing(const ModelSizes& sizes, DiagramStyle style)
{
    const bool slide = style == DiagramStyle::slide;
    Look look = slide ? Look{1600, 900, 44, 84, 20, 32} : Look{1000, 0, 30, 56, 14, 23};
    const auto text = text_corrections(sizes), picture = picture_corrections(sizes);
    const double top = look.margin + look.title * 2.1;
    double height = std::max(side_height(look, text), side_height(look, picture));
    if (slide)
        height = std::max(height, look.height - top - look.margin * 0.6);
    const std::string title =
        fmt::format("The popular diagram, and what {} does", visible_text(sizes.name, 40));
    SvgPage page(look.width, slide ? look.height : top + height + look.margin, title);
    page.raw("<style type=\"text/css\">" + graph_style_sheet() +
             "@media (prefers-color-scheme:dark){rect.number{fill:#fba0ad}.onto{fill:#14171d}}</style>\n");
    page.raw(fmt::format("<rect class=\"page\" width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", look.width,
                         slide ? look.height : top + height + look.margin));
    page.raw(class_text("title", look.margin, look.margin + look.title * 0.6, look.title, "#1d2230", title,
                        " font-weight=\"bold\""));
    page.raw(class_text(
        "soft", look.margin, look.margin + look.title * 0.75 + look.type * 1.25, look.type, "#5b6475",
        "Nine places. Italic: what is commonly said. Bold: what is true. Purple: keys and values of "
        "the picture."));
    const auto left = draw_side(page, look, text, look.margin, top, height);
    const auto right = draw_side(page, look, picture, look.margin + look.column() + look.gutter, top, height);
    // From the last box of the picture side into the decoder's layers: out to the left, up, and in.
    const PlacedBox& decoder = left[3];
    const PlacedBox& keys = right.back();
    const double middle = look.margin + look.column() + look.gutter / 2;
    const double y0 = std::max(keys.y + 0.5 * look.type,
                               std::min(keys.y + keys.height / 2, decoder.y + decoder.height / 2)),
                 y1 = decoder.y + decoder.height / 2;
    if (y0 != y1)
        page.raw(fmt::format(
            "<g class=\"edge picture\"><path d=\"M{0:.1f},{2:.1f} L{1:.1f},{2:.1f} L{1:.1f},{3:.1f}\" "
            "stroke=\"#5f3d8e\" stroke-width=\"3\" fill=\"none\" stroke-linejoin=\"round\"/></g>\n",
            keys.x, middle, y0, y1));
    draw_arrow(page, "picture", y0 != y1 ? middle : keys.x, y1, decoder.x + decoder.width, y1);
    return page.finish();
}

}  // namespace pictor
