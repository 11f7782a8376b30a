#include "viz/matrices/matrix.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "trace/reading/show.h"
#include "viz/drawing/colour_map.h"
#include "viz/drawing/output.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/figure_parts.h"

namespace pictor {
namespace {

constexpr std::int64_t most_cells = 2000;  // along one side

// What a place of an axis is called: the token's text where the axis runs over tokens of the sequence.
std::vector<std::string> labels_of(const Run& run, const TraceEntry& entry, const std::string& word,
                                   std::int64_t first, std::int64_t count)
{
    const bool self_keys = word == "key" && entry.name.find("cross_attn") == std::string::npos;
    if (!(word == "token" || (self_keys && entry.name.starts_with("language_model"))))
        return {};
    std::int64_t offset = 0;
    for (const TraceStep& step : run.trace().steps())
        if (step.index == entry.step && word == "token")
            offset = step.first_token;
    std::vector<std::string> labels;
    for (std::int64_t i = first; i < first + count; ++i) {
        const std::int64_t token = offset + i;
        labels.push_back(token < run.n_tokens() ? visible_text(at(run.tokens(), token), 16) : "");
    }
    return labels;
}

// How the numbers become colours, the same for every panel.
struct Scale {
    double reach = 0;
    bool diverging = false;

    void take(const MatrixCells& matrix)
    {
        for (std::size_t i = 0; i < matrix.values.size(); ++i)
            if (std::isfinite(matrix.values[i]) && !matrix.masked(i)) {
                reach = std::max(reach, std::abs(matrix.values[i]));
                diverging = diverging || matrix.values[i] < 0;
            }
    }
    Rgb colour(double value, bool masked) const
    {
        if (masked)
            return {205, 208, 214};
        if (!std::isfinite(value))
            return {255, 0, 160};
        const double share = reach > 0 ? value / reach : 0;
        return diverging ? difference_colour(std::clamp(share, -1.0, 1.0))
                         : heat_colour(std::clamp(share, 0.0, 1.0));
    }
};

std::string number_text(double value)
{
    if (!std::isfinite(value))
        return std::isnan(value) ? "NaN" : value > 0 ? "inf" : "\xE2\x88\x92inf";
    const std::string text = std::abs(value) != 0 && (std::abs(value) < 0.001 || std::abs(value) >= 10000)
                                 ? fmt::format("{:.1e}", value)
                                 : fmt::format("{:.3g}", value);
    return text.starts_with("-") ? "\xE2\x88\x92" + text.substr(1) : text;
}

struct PanelLook {
    double cell_width = 0, cell_height = 0, left = 0, top = 0;  // room for labels beside and above
    bool numbers = false;
};

double longest(const std::vector<std::string>& labels, double size)
{
    double width = 0;
    for (const std::string& label : labels)
        width = std::max(width, text_width(label, size));
    return width;
}

PanelLook look_for(const MatrixCells& m, double most_width, double most_height)
{
    PanelLook look;
    const auto down = static_cast<double>(m.down.count), across = static_cast<double>(m.across.count);
    look.left = m.down.labels.empty() ? 46 : std::min(130.0, longest(m.down.labels, 11) + 14);
    look.top = m.across.labels.empty() ? 34 : std::min(130.0, longest(m.across.labels, 11) + 30);
    const double width = std::clamp((most_width - look.left) / across, 1.0, 46.0),
                 height = std::clamp(most_height / down, 1.0, 46.0);
    look.numbers = width >= 38 && height >= 16;
    look.cell_width = look.numbers ? width : std::min(width, height);
    look.cell_height = look.numbers ? std::min(height, 26.0) : look.cell_width;
    if (!look.numbers)  // few long rows are drawn taller than wide
        look.cell_height = std::max(look.cell_height, std::min(20.0, 360 / down));
    return look;
}

// Every which place gets a label, so that they do not touch: 1, 2, 5, 10, ...
std::int64_t label_step(double cell, double room)
{
    for (std::int64_t step = 1;; step *= 10)
        for (const std::int64_t factor : {1, 2, 5})
            if (static_cast<double>(step * factor) * cell >= room)
                return step * factor;
}

void draw_axes(SvgPage& page, const MatrixCells& m, const PanelLook& look, double x, double y)
{
    const double width = look.cell_width * static_cast<double>(m.across.count);
    const bool turned = !m.across.labels.empty();
    if (!m.across.word.empty())
        page.text(x, y - look.top + 12, fmt::format("{} \xE2\x86\x92", m.across.word),
                  {.size = 12, .colour = soft, .bold = true});
    if (!m.down.word.empty())
        page.text(x - 8, y - (turned ? 6 : 22), fmt::format("{} \xE2\x86\x93", m.down.word),
                  {.size = 12, .colour = soft, .anchor = Anchor::end, .bold = true});
    const std::int64_t across = label_step(look.cell_width, turned ? 12 : 30),
                       down = label_step(look.cell_height, 12);
    for (std::int64_t i = 0; i < m.across.count; i += across) {
        const double centre = x + (static_cast<double>(i) + 0.5) * look.cell_width;
        if (turned)
            page.raw(fmt::format("<text transform=\"translate({:.1f},{:.1f}) rotate(-90)\" font-size=\"11\" "
                                 "fill=\"{}\">{}</text>\n",
                                 centre + 4, y - 5, ink, escape_markup(at(m.across.labels, i))));
        else if (centre <= x + width)
            page.text(centre, y - 5, fmt::format("{}", m.across.first + i),
                      {.size = 11, .colour = ink, .anchor = Anchor::middle});
    }
    if (m.down.word.empty())
        return;
    for (std::int64_t i = 0; i < m.down.count; i += down)
        page.text(x - 6, y + (static_cast<double>(i) + 0.5) * look.cell_height + 4,
                  m.down.labels.empty() ? fmt::format("{}", m.down.first + i) : at(m.down.labels, i),
                  {.size = 11, .colour = ink, .anchor = Anchor::end});
}

void draw_panel(SvgPage& page, const MatrixCells& m, const Scale& scale, const PanelLook& look, double x,
                double y, const std::string& name)
{
    const int across = static_cast<int>(m.across.count), down = static_cast<int>(m.down.count);
    // One pixel block a cell: a picture stays small however many cells there are.
    const int block = std::clamp(static_cast<int>(2 * look.cell_width), 1, 24);
    Raster raster(across * block, down * block);
    for (int row = 0; row < raster.height; ++row)
        for (int column = 0; column < raster.width; ++column) {
            const auto i = static_cast<std::size_t>(row / block) * static_cast<std::size_t>(across) +
                           static_cast<std::size_t>(column / block);
            raster.at(column, row) = scale.colour(m.values[i], m.masked(i));
        }
    const double width = look.cell_width * across, height = look.cell_height * down;
    page.image(x, y, width, height, raster, m.title);
    page.rectangle(x, y, width, height, "none", 0, "#8a93a5", 0.8);
    draw_axes(page, m, look, x, y);
    if (!name.empty())
        page.text(x, y - look.top - 6, name, {.size = 14, .colour = ink, .bold = true});
    if (!look.numbers)
        return;
    for (int row = 0; row < down; ++row)
        for (int column = 0; column < across; ++column) {
            const auto i = static_cast<std::size_t>(row) * static_cast<std::size_t>(across) +
                           static_cast<std::size_t>(column);
            const bool dark = perceived_lightness(scale.colour(m.values[i], m.masked(i))) < 0.6;
            page.text(x + (column + 0.5) * look.cell_width, y + (row + 0.5) * look.cell_height + 3.5,
                      m.masked(i) ? "mask" : number_text(m.values[i]),
                      {.size = 10.5, .colour = dark ? "#ffffff" : "#111111", .anchor = Anchor::middle});
        }
}

void draw_legend(SvgPage& page, const Scale& scale, double x, double y, const std::string& name)
{
    constexpr double width = 280;
    for (int i = 0; i < 96; ++i) {
        const double share = i / 95.0;
        page.rectangle(x + width * i / 96, y, width / 96 + 0.4, 12,
                       hex(scale.colour((scale.diverging ? 2 * share - 1 : share) * scale.reach, false)));
    }
    page.text(x, y + 28, scale.diverging ? number_text(-scale.reach) : "0", {.size = 12, .colour = soft});
    page.text(x + width / 2, y + 28, name, {.size = 12, .colour = soft, .anchor = Anchor::middle});
    page.text(x + width, y + 28, number_text(scale.reach),
              {.size = 12, .colour = soft, .anchor = Anchor::end});
}

std::string summary(const MatrixCells& m)
{
    double low = INFINITY, high = -INFINITY, sum = 0;
    std::size_t count = 0, masked = 0, broken = 0;
    for (std::size_t i = 0; i < m.values.size(); ++i) {
        masked += m.masked(i) && std::isfinite(m.values[i]);
        broken += !std::isfinite(m.values[i]);
        if (!std::isfinite(m.values[i]) || m.masked(i))
            continue;
        low = std::min(low, m.values[i]);
        high = std::max(high, m.values[i]);
        sum += m.values[i];
        ++count;
    }
    std::string text = fmt::format("{} numbers", m.values.size());
    if (count > 0)
        text += fmt::format(": {} to {}, mean {}", number_text(low), number_text(high),
                            number_text(sum / static_cast<double>(count)));
    if (masked > 0)
        text += fmt::format("; {} masked, gray", masked);
    if (broken > 0)
        text += fmt::format("; {} NaN or infinite, pink", broken);
    return text;
}

MatrixCells difference(const MatrixCells& a, const MatrixCells& b)
{
    MatrixCells result = a;
    for (std::size_t i = 0; i < a.values.size(); ++i)
        result.values[i] = a.masked(i) && b.masked(i) ? 0 : a.values[i] - b.values[i];
    return result;
}

}  // namespace

MatrixCells read_matrix(const Run& run, const std::string& name, std::int64_t step)
{
    const SliceRequest request = parse_slice_request(name);
    const TraceEntry& entry = find_or_suggest(run.trace(), request.name, step);
    const std::vector<SliceAxis> slice = parse_slice(request.indices, entry.shape);
    MatrixCells matrix;
    matrix.title =
        fmt::format("{}{}, step {}", entry.name, request.given ? "[" + request.indices + "]" : "", step);
    std::vector<std::size_t> open;
    for (std::size_t axis = 0; axis < slice.size(); ++axis)
        if (!slice[axis].single && (slice[axis].last - slice[axis].first != 1 || slice.size() - axis <= 2))
            open.push_back(axis);
    if (open.size() > 2)
        throw std::runtime_error(fmt::format(
            "{}: its axes are {}, {} of them open; a picture has two: an index for the others, such "
            "as {}[{}] would be right",
            name, fmt::join(entry.axes, ", "), open.size(), entry.name,
            fmt::join(std::vector<std::string>(open.size() - 2 + (open.front() > 0 ? open.front() : 0), "0"),
                      ",")));
    const auto read_axis = [&](std::size_t axis) {
        MatrixAxis result{entry.axes[axis], slice[axis].first, slice[axis].last - slice[axis].first, {}};
        if (result.count > most_cells || result.count < 1)
            throw std::runtime_error(
                fmt::format("{}: {} {}s; a picture shows 1 to {}: a range such as {}:{} would be right", name,
                            result.count, result.word, most_cells, result.first,
                            result.first + std::min<std::int64_t>(100, result.count)));
        result.labels = labels_of(run, entry, result.word, result.first, result.count);
        return result;
    };
    if (!open.empty())
        matrix.across = read_axis(open.back());
    if (open.size() == 2)
        matrix.down = read_axis(open.front());
    // Row-major positions of the slice.
    std::vector<std::int64_t> strides(entry.shape.size(), 1);
    for (std::size_t axis = entry.shape.size(); axis-- > 1;)
        strides[axis - 1] = strides[axis] * entry.shape[axis];
    std::int64_t start = 0;
    for (std::size_t axis = 0; axis < slice.size(); ++axis)
        start += slice[axis].first * strides[axis];
    const std::int64_t across = open.empty() ? 1 : strides[open.back()],
                       down = open.size() == 2 ? strides[open.front()] : 0;
    for (std::int64_t row = 0; row < matrix.down.count; ++row) {
        const std::vector<float> span =
            run.trace().load_range(entry, start + row * down, (matrix.across.count - 1) * across + 1);
        for (std::int64_t column = 0; column < matrix.across.count; ++column)
            matrix.values.push_back(at(span, column * across));
    }
    return matrix;
}

std::string matrix_drawing(const MatrixCells& matrix, const MatrixCells* other, const std::string& name,
                           const std::string& other_name)
{
    constexpr double margin = 36, gap = 34;
    Scale scale, difference_scale{0, true};
    scale.take(matrix);
    std::vector<const MatrixCells*> panels{&matrix};
    MatrixCells apart;
    if (other) {
        scale.take(*other);
        apart = difference(matrix, *other);
        difference_scale.take(apart);
        difference_scale.diverging = true;
        panels = {&matrix, other, &apart};
    }
    const bool stacked =
        other && matrix.across.count > 2 * matrix.down.count;  // long rows: one above the other
    const PanelLook look = look_for(
        matrix, stacked ? 1400 : (1500 - gap * 2) / static_cast<double>(panels.size()), stacked ? 260 : 820);
    const double width_of_panel = look.left + look.cell_width * static_cast<double>(matrix.across.count),
                 height_of_panel = look.top + look.cell_height * static_cast<double>(matrix.down.count);
    const double n = static_cast<double>(panels.size());
    const double panel_top = margin + 70 + (other ? 22 : 0);
    const double width =
        std::max(760.0, 2 * margin + (stacked ? width_of_panel : n * width_of_panel + (n - 1) * gap));
    const double height = panel_top + (stacked ? n * (height_of_panel + 44) : height_of_panel + 26) + 62;
    SvgPage page(width, height, visible_text(matrix.title, 200));
    page.rectangle(0, 0, width, height, "#ffffff");
    const std::string title = visible_text(matrix.title, 120);
    page.text(margin, margin + 12, title,
              {.size = std::min(21.0, 21 * (width - 2 * margin) / text_width(title, 21, true)),
               .colour = ink,
               .bold = true});
    page.text(margin, margin + 36, summary(matrix), {.size = 13.5, .colour = soft});
    const std::string names[]{name, other_name, "the first minus the second"};
    for (std::size_t i = 0; i < panels.size(); ++i) {
        const double x = margin + look.left + (stacked ? 0 : static_cast<double>(i) * (width_of_panel + gap)),
                     y = panel_top + look.top +
                         (stacked ? static_cast<double>(i) * (height_of_panel + 44) : 0);
        draw_panel(page, *panels[i], i == 2 ? difference_scale : scale, look, x, y, other ? names[i] : "");
    }
    draw_legend(page, scale, margin, height - 52, other ? "both, one scale" : "one number");
    if (other)
        draw_legend(page, difference_scale, margin + 340, height - 52, "difference");
    return page.finish();
}

std::filesystem::path run_matrix(const MatrixOptions& options)
{
    const Run run(options.trace);
    const MatrixCells matrix = read_matrix(run, options.name, options.step);
    std::string file_name = "matrix-";
    for (const char c : options.name)
        file_name += std::isalnum(static_cast<unsigned char>(c)) || c == '.' ? c : '-';
    const auto output = options.output.empty()
                            ? beside_trace(options.trace, file_name.substr(0, 120) + ".png")
                            : options.output;
    if (options.beside.empty()) {
        write_drawing(matrix_drawing(matrix, nullptr, "", ""), output, options.overwrite);
        return output;
    }
    const Run other_run(options.beside);
    const MatrixCells other = read_matrix(other_run, options.name, options.step);
    if (other.values.size() != matrix.values.size() || other.across.count != matrix.across.count)
        throw std::runtime_error(
            fmt::format("{}: {} is {} x {} there and {} x {} in {}; two of one shape would be right",
                        options.beside.string(), options.name, other.down.count, other.across.count,
                        matrix.down.count, matrix.across.count, options.trace.string()));
    write_drawing(matrix_drawing(matrix, &other, visible_text(options.trace.filename().string(), 40),
                                 visible_text(options.beside.filename().string(), 40)),
                  output, options.overwrite);
    return output;
}

}  // namespace pictor
