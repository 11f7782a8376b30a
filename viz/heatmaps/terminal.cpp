#include "viz/heatmaps/terminal.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "viz/drawing/paint.h"
#include "viz/heatmaps/figure_parts.h"

namespace pictor {
namespace {

constexpr const char* letters = " .:-=+*#%@";  // from nothing to the strongest patch
constexpr int most_rows = 24, gap = 2;

// A line of two rows of pixels: the upper half of each cell is the letter's colour, the lower its ground.
std::string half_blocks(const Raster& raster, int row)
{
    std::string line;
    for (int column = 0; column < raster.width; ++column) {
        const Rgb up = raster.at(column, row), down = raster.at(column, std::min(row + 1, raster.height - 1));
        line += fmt::format("\x1b[38;2;{};{};{};48;2;{};{};{}m\xE2\x96\x80", up.red, up.green, up.blue,
                            down.red, down.green, down.blue);
    }
    return line + "\x1b[0m";
}

std::string in_colour(const Heat& heat, const Raster& picture, bool smooth, int columns)
{
    const auto& g = heat.geometry;
    const double shape = static_cast<double>(g.height) / static_cast<double>(g.width);
    const bool beside = columns >= 50 && g.width < 3 * g.height;
    const int room = beside ? (columns - gap) / 2 : columns;
    int width = std::clamp(static_cast<int>(2 * most_rows / shape), 1, room);
    const int across = static_cast<int>((g.resized_width + g.patch_size - 1) / g.patch_size);
    if (width > across)  // whole cells for each patch
        width -= width % across;
    const int height = std::max(2, static_cast<int>(std::lround(width * shape / 2)) * 2);
    const Raster left = scale(picture, width, height);
    const Raster right =
        heat.no_effect ? paint_no_effect(picture, width, height)
                       : paint_grid(picture, g, heat.grid, width, height,
                                    {.scale = strongest(heat), .smooth = smooth, .palette = Palette::heat});
    std::string text;
    for (int row = 0; row < height; row += 2)
        text +=
            (beside ? half_blocks(left, row) + std::string(gap, ' ') : "") + half_blocks(right, row) + "\n";
    return text;
}

// Two letters for each patch that shows the picture; a large grid is shrunk, each cell its strongest patch.
std::string in_letters(const Heat& heat, int columns)
{
    const auto& g = heat.geometry;
    const std::int64_t across = (g.resized_width + g.patch_size - 1) / g.patch_size,
                       down = (g.resized_height + g.patch_size - 1) / g.patch_size;
    const std::int64_t step =
        std::max<std::int64_t>(1, (2 * across + columns - 3) / std::max(1, columns - 2));
    const double most = strongest(heat);
    std::string text;
    for (std::int64_t top = 0; top < down; top += step) {
        text += '|';
        for (std::int64_t left = 0; left < across; left += step) {
            double value = 0;
            for (std::int64_t row = top; row < std::min(top + step, down); ++row)
                for (std::int64_t column = left; column < std::min(left + step, across); ++column)
                    value = std::max(value, at(heat.grid, row * g.grid_columns() + column));
            const double share = most > 0 ? value / most : 0;
            text += std::string(2, letters[std::min(static_cast<int>(share * 10), 9)]);
        }
        text += "|\n";
    }
    return text;
}

std::string ledger_line(const Heat& heat)
{
    static constexpr const char* names[]{"on the picture",  "on padding",        "on absent tiles",
                                         "on class tokens", "on other pictures", "on padding rows"};
    const std::vector<double> shares = rounded_percentages(heat.ledger);
    std::string text;
    for (std::size_t i = 0; i < shares.size() && i < std::size(names); ++i)
        if (shares[i] > 0)
            text += fmt::format("{}{:.1f} % {}", text.empty() ? "" : ", ", shares[i], names[i]);
    return text;
}

}  // namespace

TerminalLook terminal_look()
{
    TerminalLook look;
    winsize size{};
    const char* const columns = std::getenv("COLUMNS");
    if (columns != nullptr && std::atoi(columns) > 0)
        look.columns = std::atoi(columns);
    else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        look.columns = size.ws_col;
    look.columns = std::clamp(look.columns, 20, 400);
    const char* const terminal = std::getenv("TERM");
    const char* const no_colour = std::getenv("NO_COLOR");
    look.colour = isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0') &&
                  terminal != nullptr && std::string(terminal) != "dumb";
    return look;
}

std::string terminal_heatmap(const Run& run, const Heat& heat, const Raster& picture, bool smooth,
                             const TerminalLook& look)
{
    std::string text;
    if (look.colour)
        text = in_colour(heat, picture, smooth, look.columns);
    else if (!heat.no_effect)
        text = in_letters(heat, look.columns);
    text += fmt::format("Where layer {} looked before \xE2\x80\x9C{}\xE2\x80\x9D ({}).", heat.request.layer,
                        visible_text(run.word_at(heat.request.token), 40),
                        head_text(heat.request, run.n_heads(heat.request.layer)));
    if (heat.no_effect)
        return text + " No effect: this row may see no picture.\n";
    if (const auto place = strongest_place(heat))
        text += fmt::format(" Strongest: row {}, column {} of {} x {} patches, {}.", place->row,
                            place->column, heat.geometry.grid_rows(), heat.geometry.grid_columns(),
                            percent_text(strongest(heat)));
    return text + "\n" + ledger_line(heat) + "\n";
}

}  // namespace pictor
