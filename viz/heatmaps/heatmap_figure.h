// The drawn page of one heatmap: picture, heat, scale, ledger, and which row it was read from.
#pragma once

#include <string>
#include <vector>

#include "viz/drawing/paint.h"
#include "viz/drawing/svg.h"
#include "viz/heatmaps/figure_parts.h"
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

// heat minus other: two traces, or two layers, of the same picture. The names go into the caption.
std::string difference_figure(const Run& run, const Heat& heat, const Heat& other, const Raster& picture,
                              const std::string& name, const std::string& other_name,
                              const FigureOptions& options);

}  // namespace pictor
