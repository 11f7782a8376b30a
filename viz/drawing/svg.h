// A page of drawing, written as SVG: the one thing every picture here is made of. PNG and PDF are made from
// it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "viz/drawing/raster.h"

namespace pictor {

enum class Anchor { start, middle, end };

struct TextStyle {
    double size = 14;
    std::string colour = "#1d2230";
    Anchor anchor = Anchor::start;
    bool bold = false;
    bool mono = false;
    bool italic = false;
};

class SvgPage {
public:
    SvgPage(double width, double height, const std::string& title);

    void rectangle(double x, double y, double width, double height, const std::string& fill,
                   double radius = 0, const std::string& stroke = "none", double stroke_width = 0);
    void line(double x0, double y0, double x1, double y1, const std::string& stroke, double stroke_width = 1);
    void text(double x, double y, const std::string& words, const TextStyle& style = {});
    void image(double x, double y, double width, double height, const Raster& picture,
               const std::string& description);
    void raw(const std::string& markup);

    std::string finish() const;

private:
    double width_, height_;
    std::string title_;
    std::string body_;
};

// Estimated width in pixels of a line of text, for layout.
double text_width(const std::string& words, double size, bool bold = false, bool mono = false);

// Words broken into lines no wider than `width`.
std::vector<std::string> wrap_text(const std::string& words, double size, double width);

}  // namespace pictor
