// A grid of patch values laid over the picture it was read from.
#pragma once

#include <optional>
#include <vector>

#include "viz/drawing/raster.h"
#include "viz/heatmaps/patch_grid.h"

namespace pictor {

enum class Palette { heat, difference };

struct PaintOptions {
    double scale = 1;  // the value that gets the brightest colour
    bool smooth =
        false;  // between patch centres; default is one colour per patch, which is what the model sees
    Palette palette = Palette::heat;
};

// The picture in dim gray with each patch's colour over it, width x height pixels. Nothing of the padding is
// shown.
Raster paint_grid(const Raster& picture, const PictureGeometry& geometry, const std::vector<double>& grid,
                  int width, int height, const PaintOptions& options);

// The picture in pale gray: no patch may be seen.
Raster paint_no_effect(const Raster& picture, int width, int height);

// The colour that a value gets over middle gray; the legend is made of it.
Rgb legend_colour(double share_of_scale, Palette palette);

// The value at a point of the original picture between patch centres; patches that show only padding have no
// say.
double smooth_value(const PictureGeometry& geometry, const std::vector<double>& grid, double x, double y);

}  // namespace pictor
