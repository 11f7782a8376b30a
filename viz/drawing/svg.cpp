#include "viz/drawing/svg.h"

#include <fmt/format.h>

namespace pictor {
namespace {

constexpr const char* sans = "'DejaVu Sans','Segoe UI','Helvetica Neue',Arial,sans-serif";
constexpr const char* monospace = "'DejaVu Sans Mono',Menlo,Consolas,monospace";
constexpr const char* replacement = "\xEF\xBF\xBD";

// Length of the UTF-8 character that starts at text[i], 0 when the bytes are no valid character.
std::size_t character_length(const std::string& text, std::size_t i)
{
    const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned lead = byte(i);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size())
        return 0;
    unsigned code = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
        if ((byte(i + k) & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (byte(i + k) & 0x3F);
    }
    const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
    const bool overlong =
        (length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10FFFF));
    const bool not_xml = code == 0xFFFE || code == 0xFFFF;
    return surrogate || overlong || not_xml ? 0 : length;
}

std::vector<std::string> characters(const std::string& text)
{
    std::vector<std::string> result;
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = character_length(text, i);
        result.push_back(length ? text.substr(i, length) : replacement);
        i += length ? length : 1;
    }
    return result;
}

}  // namespace

std::string escape_markup(const std::string& text)
{
    std::string result;
    for (const std::string& character : characters(text)) {
        const auto c = static_cast<unsigned char>(character[0]);
        if (character.size() > 1)
            result += character;
        else if (c == '&')
            result += "&amp;";
        else if (c == '<')
            result += "&lt;";
        else if (c == '>')
            result += "&gt;";
        else if (c == '"')
            result += "&quot;";
        else if (c == '\'')
            result += "&#39;";
        else if (c == '\n' || c == '\t')
            result += static_cast<char>(c);
        else if (c < 0x20 || c == 0x7F)
            result += replacement;
        else
            result += static_cast<char>(c);
    }
    return result;
}

std::string visible_text(const std::string& text, std::size_t most)
{
    std::string result;
    std::size_t count = 0;
    for (const std::string& character : characters(text)) {
        if (++count > most)
            return result + "\xE2\x80\xA6";  // ellipsis
        // Directional overrides would turn the rest of a caption around.
        const bool turns = character >= "\xE2\x80\xAA" && character <= "\xE2\x80\xAE";
        const bool isolates = character >= "\xE2\x81\xA6" && character <= "\xE2\x81\xA9";
        if (character == "\n")
            result += "\xE2\x86\xB5";
        else if (character == "\t")
            result += "\xE2\x87\xA5";
        else if (turns || isolates || static_cast<unsigned char>(character[0]) < 0x20 || character[0] == 0x7F)
            result += replacement;
        else
            result += character;
    }
    return result;
}

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
    body_ += fmt::format(
        "<line x1=\"{:.2f}\" y1=\"{:.2f}\" x2=\"{:.2f}\" y2=\"{:.2f}\" stroke=\"{}\" stroke-width=\"{:.2f}\"/>\n",
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
    for (const std::string& character : characters(words)) {
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
    }
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
