"""Faults of heatmaps: geometry, ledger, the row before the word, heads, one scale for a set."""

from mutant import Mutant

GRID = "viz/heatmaps/patch_grid.cpp"
HEATMAP = "viz/heatmaps/heatmap.cpp"
RUN = "viz/run.cpp"
SHEET = "viz/heatmaps/contact_sheet.cpp"

MARKED = "seam: a picture with one marked patch lights exactly that patch"
PIXELS = "seam: on resized and padded pictures every pixel shows"
BLOCK = "seam: a marked block that goes through resize is found again"
LEDGER = "the ledger adds up to 100 percent"
ROW = "a heat is read from the row before the word"
BLIND = "TRAP all_zero_bias_rows: a row that may see no picture is drawn"
HEADS = "mean, max, entropy and one head are what they say"
WEIGHED = "weighed by values: attention x length of the value x |tanh(gate)|"
VISION = "a vision layer's map is the query's own row, its padding rows apart"

MUTANTS = [
    Mutant("the class token is drawn as the first patch", GRID, "first + tile * per_tile + patch",
           "first + tile * per_tile + patch - 1", test=MARKED),
    Mutant("tiles are laid out down before across", GRID,
           "{tile / g.tile_columns * side + (patch - 1) / side,",
           "{tile % g.tile_columns * side + (patch - 1) / side,", test=MARKED),
    Mutant("patches are laid out down before across", GRID, "* side + (patch - 1) / side,",
           "* side + (patch - 1) % side,", test=MARKED),
    Mutant("a tile has one patch more to the side", GRID,
           "tile % g.tile_columns * side + (patch - 1) % side};",
           "tile % g.tile_columns * side + patch % side};", test=MARKED),
    Mutant("a place's tile by rows of the wrong length", GRID,
           "{place.row / side * g.tile_columns + place.column / side,",
           "{place.row / side * g.tile_rows + place.column / side,", test=PIXELS),
    Mutant("a place's key without the class token", GRID, "1 + place.row % side * side",
           "place.row % side * side", test=PIXELS),
    Mutant("padding is not cropped", GRID, "std::min(index * g.patch_size, end)",
           "index * g.patch_size + 0 * end", test=PIXELS),
    Mutant("a pixel's row by its column", GRID, "static_cast<std::int64_t>(canvas_y) / g.patch_size",
           "static_cast<std::int64_t>(canvas_x) / g.patch_size", test=PIXELS),
    Mutant("resizing is forgotten", GRID,
           "x * static_cast<double>(g.resized_width) / static_cast<double>(g.width)", "x", test=PIXELS),
    Mutant("patches half on the picture count whole", GRID, "(end - index * g.patch_size, 0, g.patch_size)",
           "(end, 0, g.patch_size)", test=LEDGER),
    Mutant("class tokens count as picture", GRID, "ledger.class_tokens += weight;",
           "ledger.picture += weight;", test=LEDGER),
    Mutant("absent tiles count as class tokens", GRID, "ledger.absent += weight;",
           "ledger.class_tokens += weight;", test=LEDGER),
    Mutant("padding is missing from the ledger", GRID, "ledger.padding += weight * (1 - share);", "",
           test=LEDGER),
    Mutant("other pictures are missing from the ledger", GRID, "ledger.other_pictures += weight;", "",
           test=LEDGER),
    Mutant("padding rows count as padding", GRID, "ledger.padding_rows += weight;",
           "ledger.padding += weight;", test=VISION),
    Mutant("percentages are cut, not rounded", GRID, "for (std::int64_t i = 0; i < missing; ++i)",
           "for (std::int64_t i = missing; i < 0; ++i)", test=LEDGER),
    Mutant("the smallest remainder is rounded up", GRID, "remainder[a] > remainder[b]",
           "remainder[a] < remainder[b]", test="percentages are rounded by the largest remainder"),
    Mutant("each picture's keys begin where the tiles before end", GRID, "picture * max_tiles * per_tile;",
           "picture * g.tile_rows * g.tile_columns * per_tile + 0 * max_tiles;",
           test="a second picture's map begins behind all tiles of the first"),

    Mutant("the row of the word itself", RUN, "const std::int64_t position = token - 1;",
           "const std::int64_t position = token;", test=ROW),
    Mutant("rows count from the prompt's beginning in every step", RUN,
           "position - step.first_token, step.token_count", "position, step.token_count", test=ROW),
    Mutant("the prompt's word comes before the answer's", RUN,
           "std::int64_t i = n_prompt_; i < n_tokens(); ++i)",
           "std::int64_t i = n_tokens(); i < n_tokens(); ++i)",
           test="a word of the answer comes before the same word of the prompt"),
    Mutant("NaN passes for a probability", RUN, "if (!std::isfinite(p) || p < 0)", "if (p < 0)",
           test="hostile traces fail clearly or draw safely"),
    Mutant("even reading is over one key per tile", RUN, "seen += per_tile;", "seen += 1;",
           suite="viz/heatmap_numpy_test.py"),
    Mutant("a word is cut from its second token", RUN, "ends_open(first - 1))",
           "ends_open(first - 1) && first < 0)", test=ROW),

    Mutant("a row that sees nothing is drawn", HEATMAP, "std::fill(heat.grid.begin(), heat.grid.end(), 0.0);",
           "heat.no_effect = true;", test=BLIND),
    Mutant("every row sees", HEATMAP, "return !run.row_sees(row, picture);",
           "return !run.row_sees(row, picture) && picture > 64;", test=BLIND),
    Mutant("entropy in nats", HEATMAP, "std::log2(p / sum)", "std::log(p / sum)", test=HEADS),
    Mutant("entropy of what does not add up to 1", HEATMAP, "bits -= p / sum * std::log2(p / sum);",
           "bits -= p * std::log2(p);", test=HEADS),
    Mutant("the mean is a sum", HEATMAP, "value /= static_cast<double>(heads.size());", "value /= 1.0;",
           test=HEADS),
    Mutant("the weakest head is called the strongest", HEATMAP, "std::max(most[key], head[key])",
           "std::min(most[key], head[key])", test=HEADS),
    Mutant("entropy over keys, not over heads", HEATMAP, "parts.push_back(head[key]);",
           "parts.push_back(head[0]);", test=HEADS),
    Mutant("a ledger of maxima", HEATMAP,
           "make_ledger(heat.geometry, request.heads == HeadChoice::one ? keys : mean,",
           "make_ledger(heat.geometry, keys,", suite="viz/heatmap_numpy_test.py"),
    Mutant("query heads share values in turns", HEATMAP, "kv_head = head / (n_heads / n_kv_heads);",
           "kv_head = head % n_kv_heads;", test=WEIGHED),
    Mutant("values weigh by their square", HEATMAP, "*= std::sqrt(square);", "*= square;", test=WEIGHED),
    Mutant("a negative gate makes negative weights", HEATMAP, "value *= std::abs(heat.gate);",
           "value *= heat.gate;", test=WEIGHED),
    Mutant("the strongest patch may lie on padding", HEATMAP,
           "if (value > most && share_on_picture(heat.geometry, {row, column}) > 0)", "if (value > most)",
           test="the strongest patch is one that shows the picture"),
    Mutant("vision rows are not padded to 8", HEATMAP, "(g.patches_per_tile() + 7) / 8 * 8",
           "g.patches_per_tile()", test=VISION),
    Mutant("a vision query is read from the first tile", HEATMAP,
           "key.tile * rows_per_tile + key.patch) * n_keys", "key.patch) * n_keys", test=VISION),

    Mutant("a scale of its own for each map", SHEET, "cell.scale > 0 ? cell.scale : scale,",
           "strongest(cell.heat),", test="maps of one sheet have one scale"),
    Mutant("the last map sets the scale of all", SHEET, "scale = std::max(scale, strongest(cell.heat));",
           "scale = strongest(cell.heat);", test="maps of one sheet have one scale"),
    Mutant("light is little, dark is much", "viz/drawing/colour_map.cpp", "0.16 + 0.81 * t",
           "0.97 - 0.81 * t", test="the colour map's lightness rises evenly"),
    Mutant("letters of the terminal end one too early", "viz/heatmaps/terminal.cpp",
           "static_cast<int>(share * 10), 9)", "static_cast<int>(share * 10), 5)",
           test="a heatmap in the terminal lights the patch that was read"),
]
