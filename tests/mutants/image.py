"""Faults between a picture's file and its tiles. The goldens of golden/picture catch them, through the tests
that read those."""

from mutant import Mutant

PIXELS = "tiles: pixel values are those of transformers' PIL processor"

MUTANTS = [
    Mutant("grids wide before high", "reference/image/tiles.cpp", "grids.push_back({high, wide});",
           "grids.push_back({wide, high});", breaks="aspect_ratio_ids", run="row of four tiles", test=PIXELS,
           traps=("tiles_high_before_wide",)),
    Mutant("tiles cut column by column", "reference/image/tiles.cpp",
           "canvas.pixel(tile / grid.width * tile_size + row, tile % grid.width * tile_size)",
           "canvas.pixel(tile % grid.height * tile_size + row, tile / grid.height * tile_size)",
           breaks="pixel_values", run="2 x 2 tiles", test=PIXELS, traps=("tiles_high_before_wide",)),
    Mutant("scale 1 does not hold a picture", "reference/image/tiles.cpp",
           "holds = scale >= 1.0, best_holds = best_scale >= 1.0;",
           "holds = scale > 1.0, best_holds = best_scale > 1.0;", breaks="pixel_values",
           run="picture of one tile", test=PIXELS, traps=("exactly_tile_size",)),
    Mutant("the largest of equal canvases", "reference/image/tiles.cpp",
           "canvas.height * canvas.width < best.height * best.width",
           "canvas.height * canvas.width > best.height * best.width", breaks="pixel_values",
           run="picture of one tile", test=PIXELS, traps=("exactly_tile_size",)),
    Mutant("aspect ratio ids count from 0", "reference/image/tiles.cpp", "tiled.aspect_ratio_id = 1 + (",
           "tiled.aspect_ratio_id = (", breaks="aspect_ratio_ids", run="2 x 2 tiles", test=PIXELS,
           traps=("aspect_id_0",)),
    Mutant(
        "padding is 0 after normalising", "reference/image/tiles.cpp",
        "values[column] = at(table, colour)[source[column * 3]];",
        "values[column] = tile / grid.width * tile_size + row < resized.height && tile % grid.width * "
        "tile_size + column < resized.width"
        " ? at(table, colour)[source[column * 3]] : 0.0f;", breaks="pixel_values", run="padded picture",
        test=PIXELS, traps=("pad_after_normalise",)),
    Mutant("pixels not divided by std", "reference/image/tiles.cpp", "= (rescaled - mean) / std;",
           "= rescaled - mean;", breaks="pixel_values", run="larger picture", test=PIXELS),
    Mutant("sizes rounded up", "reference/image/tiles.cpp", "std::floor(static_cast<double>(side) * scale)",
           "std::ceil(static_cast<double>(side) * scale)", breaks="pixel_values", run="padded picture",
           test=PIXELS),
    Mutant("no antialiasing", "reference/image/resize.cpp", "reach = std::max(scale, 1.0);", "reach = 1.0;",
           breaks="pixel_values", run="larger picture", test=PIXELS, traps=("resize_without_antialias",)),
    Mutant("columns always first", "reference/image/resize.cpp",
           "rows_first = height < image.height && image.height - height > 2 * (image.width - width);",
           "rows_first = false;", breaks="pixel_values", run="high picture", test=PIXELS,
           traps=("pass_order",)),
    Mutant("sums not rounded", "reference/image/resize.cpp",
           "sum[3] = {1 << (weight_bits - 1), 1 << (weight_bits - 1), 1 << (weight_bits - 1)};",
           "sum[3] = {0, 0, 0};", breaks="pixel_values", run="larger picture", test=PIXELS),
    Mutant("alpha dropped", "base/image_decode.cpp", "has_alpha && use_alpha ? source[n_colours] : 255;",
           "use_alpha ? 255 : 255 + 0 * n_colours * has_alpha;", breaks="pixel_values",
           run="transparent picture", test=PIXELS, traps=("transparent_pixels",)),
    Mutant("transparent colour by its high byte", "base/png.cpp", "2 * (n_colours == 3 ? i : 0) + 1]",
           "2 * (n_colours == 3 ? i : 0)]", breaks="pixel_values", run="one transparent colour", test=PIXELS,
           traps=("png_transparent_colour",)),
    Mutant("16-bit gray by its high byte", "base/image_decode.cpp", "std::min<int>(values.get()[i / 3], 255)",
           "values.get()[i / 3] >> 8", breaks="pixel_values", run="16-bit gray", test=PIXELS,
           traps=("gray_16_bit",)),]
