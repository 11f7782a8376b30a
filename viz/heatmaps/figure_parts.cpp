#include "viz/heatmaps/figure_parts.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/colour_map.h"

namespace pictor {

std::string percent_text(double share)
{
    const double percent = 100 * share;
    const double size = std::abs(percent);
    if (size == 0)
        return "0 %";
    if (size < 0.0095)
        return fmt::format("{:.1e} %", percent);
    return size < 1 ? fmt::format("{:.2f} %", percent) : fmt::format("{:.1f} %", percent);
}

Box fit(std::int64_t width, std::int64_t height, const Box& space)
{
    const double zoom =
        std::min(space.width / static_cast<double>(width), space.height / static_cast<double>(height));
    const double w = std::max(2.0, zoom * static_cast<double>(width)),
                 h = std::max(2.0, zoom * static_cast<double>(height));
    return {space.x + (space.width - w) / 2, space.y + (space.height - h) / 2, w, h};
}

void draw_scale(SvgPage& page, double x, double y, double width, Palette palette, const std::string& low,
                const std::string& high, const std::string& name)
{
    constexpr int steps = 128;
    for (int i = 0; i < steps; ++i) {
        const double t = i / (steps - 1.0);
        page.rectangle(x + width * i / steps, y, width / steps + 0.4, 12,
                       hex(legend_colour(palette == Palette::difference ? 2 * t - 1 : t, palette)));
    }
    page.text(x, y + 28, low, {.size = 12.5, .colour = soft});
    page.text(x + width, y + 28, high, {.size = 12.5, .colour = soft, .anchor = Anchor::end});
    page.text(x + width / 2, y + 28, name, {.size = 12.5, .colour = soft, .anchor = Anchor::middle});
}

double draw_ledger(SvgPage& page, double x, double y, double width, const Ledger& ledger)
{
    static const std::array<const char*, 6> names{"patches on the picture", "padding pixels inside tiles",
                                                  "absent tiles",           "class tokens",
                                                  "other pictures",         "padding rows"};
    const std::vector<double> percent = rounded_percentages(ledger);
    double left = x;
    for (std::size_t i = 0; i < percent.size(); ++i) {
        const double part = width * percent[i] / 100;
        if (part > 0)
            page.rectangle(left, y, std::max(0.8, part - 1), 16, ledger_colours[i]);
        left += part;
    }
    double entry = x, row = y;
    for (std::size_t i = 0; i < percent.size(); ++i) {
        if (i >= 4 && percent[i] == 0)
            continue;
        const std::string value = fmt::format("{:.1f} %", percent[i]);
        const double needed = 23 + text_width(value, 13.5, true) + text_width(names[i], 13.5);
        if (entry + needed > x + width && entry > x) {
            entry = x;
            row += 22;
        }
        page.rectangle(entry, row + 27, 11, 11, ledger_colours[i], 2);
        page.text(entry + 17, row + 37, value, {.size = 13.5, .colour = ink, .bold = true});
        const double after = entry + 17 + text_width(value, 13.5, true) + 6;
        page.text(after, row + 37, names[i], {.size = 13.5, .colour = soft});
        entry = after + text_width(names[i], 13.5) + 20;
    }
    return 42 + row - y;
}

double draw_tokens(SvgPage& page, double x, double y, double width, const Run& run, std::int64_t token,
                   std::int64_t row_position)
{
    const bool in_answer = token >= run.n_prompt();
    // An answer's first word is read from the prompt's last row: show that one too.
    const std::int64_t begin = std::max<std::int64_t>(0, in_answer ? std::min(run.n_prompt(), row_position)
                                                                   : std::min(row_position, token - 24));
    const std::int64_t end = std::min(run.n_tokens(), in_answer ? std::max(token + 40, begin + 60)
                                                                : std::min(run.n_prompt(), token + 24));
    constexpr double size = 15, line_height = 30;
    double left = x, base = y + 20;
    for (std::int64_t i = begin; i < end; ++i) {
        const std::string word = visible_text(at(run.tokens(), i), 40);
        const double space = text_width(word, size, false, true) + 6;
        if (left + space > x + width && left > x) {
            left = x;
            base += line_height;
        }
        const bool is_word = i == token, is_row = i == row_position;
        if (is_word)
            page.rectangle(left, base - 17, space, 24, "#d9622b", 4);
        if (is_row)
            page.rectangle(left, base - 17, space, 24, "#ffffff", 4, "#33518f", 1.8);
        page.text(left + 3, base, word,
                  {.size = size,
                   .colour = is_word              ? "#ffffff"
                             : is_row             ? "#33518f"
                             : i < run.n_prompt() ? "#8a92a3"
                                                  : ink,
                   .bold = is_word,
                   .mono = true});
        left += space + 1;
    }
    return base - y + 14;
}

std::string row_sentence(const Run& run, const Heat& heat)
{
    const std::string bare = trimmed(at(run.tokens(), heat.row.position));
    const std::string row_text = visible_text(bare.empty() ? at(run.tokens(), heat.row.position) : bare, 40);
    return fmt::format("The word \xE2\x80\x9C{}\xE2\x80\x9D is token {}. It was read from row {}, that of "
                       "\xE2\x80\x9C{}\xE2\x80\x9D ({} step {}), which predicts it.",
                       visible_text(run.word_at(heat.request.token), 40), heat.request.token,
                       heat.row.position, row_text, heat.row.kind, heat.row.step);
}

}  // namespace pictor
