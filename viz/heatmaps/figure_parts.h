// Parts of a heatmap's page that sheets draw too: scale, ledger, the line of words.
#pragma once

#include <string>

#include "viz/drawing/paint.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/heatmap.h"

namespace pictor {

// The colours of type on every page.
inline constexpr const char* ink = "#1d2230";
inline constexpr const char* soft = "#5b6475";

// "12.3 %", with as many digits as a small number needs.
std::string percent_text(double share);

struct Box {
    double x = 0, y = 0, width = 0, height = 0;
};
Box fit(std::int64_t width, std::int64_t height, const Box& space);  // largest of that shape, centred
void draw_scale(SvgPage& page, double x, double y, double width, Palette palette, const std::string& low,
                const std::string& high, const std::string& name);
double draw_ledger(SvgPage& page, double x, double y, double width,
                   const Ledger& ledger);  // returns the height used
// The answer's (or prompt's) tokens as a line of boxes, the word and the row it was read from marked. Height
// used.
double draw_tokens(SvgPage& page, double x, double y, double width, const Run& run, std::int64_t token,
                   std::int64_t row_position);
std::string row_sentence(const Run& run, const Heat& heat);

}  // namespace pictor
