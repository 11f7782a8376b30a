// The drawn page of one heatmap: picture, heat, scale, ledger, and which row it was read from.
#pragma once

#include <string>
#include <vector>

#include "viz/drawing/paint.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/heatmap.h"

namespace pictor {

struct FigureOptions {
    bool smooth = false;
    double scale = 0;  // value of the brightest colour; 0: the heat's own strongest patch
};

std::string heatmap_figure(const Run& run, const Heat& heat, const Raster& picture,
                           const FigureOptions& options);

// What one patch looked at inside the vision encoder.
std::string vision_figure(const Run& run, const VisionHeat& heat, const Raster& picture,
                          const FigureOptions& options);

// heat minus other: two traces, or two layers, of the same picture. The names stand in the caption.
std::string difference_figure(const Run& run, const Heat& heat, const Heat& other, const Raster& picture,
                              const std::string& name, const std::string& other_name,
                              const FigureOptions& options);

// "12.3 %", with as many digits as a small number needs.
std::string percent_text(double share);

// Parts that other pages draw too.
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
