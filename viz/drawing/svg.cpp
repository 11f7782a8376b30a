#include "viz/drawing/svg.h"

#include <fmt/format.h>

#include "base/shown_text.h"
#include "base/utf8.h"

namespace pictor {
namespace {

constexpr const char* sans = "'DejaVu Sans','Segoe UI','Helvetica Neue',Arial,sans-serif";
constexpr const char* monospace = "'DejaVu Sans Mono',Menlo,Consolas,monospace";

}  // namespace

SvgPage::SvgPage(double width, double height, const std::string& title)
    : width_(width), height_(height), title_(title)
{
}

void SvgPage::rectangle(double x, double y, double width, double height, const std::string& fill,
                        double radius, const std::string& stroke, double stroke_width)
{
    body_ += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"", x,
                         y, std::max(0.0, width), std::max(0.0, height), fill);
    if (radius > 0)
        body_ += fmt::format(" rx=\"{:.2f}\"", radius);
    if (stroke_width > 0)
        body_ += fmt::format(" stroke=\"{}\" stroke-width=\"{:.2f}\"", stroke, stroke_width);
    body_ += "/>\n";
}

void SvgPage::line(double x0, double y0, double x1, double y1, const std::string& stroke, double stroke_width)
{
    body_ += fmt::format("<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" stroke=\"{}\" "
                         "stroke-width=\"{:.2f}\"/>\n",
                         x0, y0, x1, y1, stroke, stroke_width);
}

void SvgPage::text(double x, double y, const std::string& words, const TextStyle& style)
{
    body_ += fmt::format("<text x=\"{:.2f}\" y=\"{:.2f}\" font-size=\"{:.2f}\" fill=\"{}\"", x, y, style.size,
                         style.colour);
    if (style.mono)
        body_ += fmt::format(" font-family=\"{}\"", monospace);
    if (style.bold)
        body_ += " font-weight=\"bold\"";
    if (style.italic)
        body_ += " font-style=\"italic\"";
    if (style.anchor == Anchor::middle)
        body_ += " text-anchor=\"middle\"";
    if (style.anchor == Anchor::end)
        body_ += " text-anchor=\"end\"";
    body_ += " xml:space=\"preserve\">" + escape_markup(words) + "</text>\n";
}

void SvgPage::image(double x, double y, double width, double height, const Raster& picture,
                    const std::string& description)
{
    body_ += fmt::format(
        "<image x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" preserveAspectRatio=\"none\" "
        "xlink:href=\"data:image/png;base64,{}\"><title>{}</title></image>\n",
        x, y, width, height, base64(encode_png(picture)), escape_markup(description));
}

void SvgPage::raw(const std::string& markup) { body_ += markup; }

std::string SvgPage::finish() const
{
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" "
        "width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"{2}\">\n"
        "<title>{3}</title>\n{4}</svg>\n",
        width_, height_, sans, escape_markup(title_), body_);
}

double text_width(const std::string& words, double size, bool bold, bool mono)
{
    double units = 0;
    for_each_character(words, [&](std::string_view character, char32_t) {
        const char c = character.size() == 1 ? character[0] : 'n';
        if (mono)
            units += 0.602;
        else if (character.size() >= 4)
            units += 1.2;  // emoji and the like
        else if (std::string("ijl.,:;|!'").find(c) != std::string::npos)
            units += 0.31;
        else if (std::string(" ftr()[]-\"").find(c) != std::string::npos)
            units += 0.40;
        else if (std::string("mwMW%@").find(c) != std::string::npos)
            units += 0.92;
        else if (c >= 'A' && c <= 'Z')
            units += 0.68;
        else
            units += 0.61;
        return true;
    });
    return units * size * (bold ? 1.1 : 1.0);
}

std::vector<std::string> wrap_text(const std::string& words, double size, double width)
{
    std::vector<std::string> lines{""};
    std::size_t start = 0;
    while (start < words.size()) {
        std::size_t end = words.find(' ', start + 1);
        if (end == std::string::npos)
            end = words.size();
        const std::string word = words.substr(start, end - start);
        if (!lines.back().empty() && text_width(lines.back() + word, size) > width)
            lines.push_back(word.substr(word[0] == ' ' ? 1 : 0));
        else
            lines.back() += word;
        start = end;
    }
    return lines;
}

}  // namespace pictor
