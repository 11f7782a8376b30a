// Many heatmaps on one page, on one scale.
#pragma once

#include <functional>
#include <string>

#include "viz/drawing/paint.h"
#include "viz/heatmaps/heatmap.h"

namespace pictor {

enum class Sheet {
    heads,   // rows: the answer's words; columns: the heads of one layer, and their mean
    layers,  // rows: the cross-attention layers; columns: the answer's words
    answer   // the whole answer in order, one map for each word
};

using OpenPicture = std::function<Raster(std::int64_t picture)>;

// request: layer, head choice and picture; its token is not used. Words beyond the first `most_words` are
// left out, and the page says how many. scale_by_head: in a sheet of heads each head has a scale of its own,
// so that a head that spreads its attention shows where, too.
std::string contact_sheet(const Run& run, Sheet sheet, const HeatRequest& request, const OpenPicture& open,
                          bool smooth, bool scale_by_head = false, std::size_t most_words = 24);

// The answer's tokens that a row predicts and that are words: no special tokens, no blanks.
std::vector<std::int64_t> answer_words(const Run& run);

}  // namespace pictor
