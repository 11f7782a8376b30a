// Where a row of cross-attention looked: the numbers of a heatmap, before any colour.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "viz/run.h"

namespace pictor {

enum class HeadChoice { one, mean, max, entropy };

struct HeatRequest {
    std::int64_t layer = -1;
    HeadChoice heads = HeadChoice::mean;
    std::int64_t head = 0;      // with HeadChoice::one
    std::int64_t token = 0;     // the word; the row read is the one that predicts it
    std::int64_t picture = -1;  // -1: the one that was read most
    bool weigh_values = false;  // attention x norm of the value it moves x |tanh(gate)|
};

struct Heat {
    HeatRequest request;  // with the picture that was chosen
    RowPlace row;
    bool no_effect = false;         // the row may see no picture: nothing is drawn
    bool gate_closed = false;       // weigh_values: tanh(gate) is 0
    double gate = 1;                // weigh_values: tanh(gate), read off the trace
    double row_sum = 1;             // of the probabilities; 1 but for rounding
    std::vector<double> head_bits;  // how far each head's attention spreads over its keys: entropy, in bits
    double drawn_bits = 0;          // the same of the row that is drawn: one head's, or the mean's
    double most_bits = 0;           // of an even spread over all keys the row may see
    std::vector<double> grid;       // [grid_rows][grid_columns] of the picture
    Ledger ledger;                  // of the mean over heads when heads are combined
    PictureGeometry geometry;
};

// "mean", "max", "entropy" or a number. Throws when it is none of them or beyond the layer's heads.
void read_head(const std::string& text, std::int64_t n_heads, HeatRequest& request);

// The last cross-attention layer, or the one asked for. Throws with the list of layers there are.
std::int64_t choose_layer(const Run& run, std::int64_t wanted);

// The answer's most pointed word: the one whose row puts most on a single patch of the picture (mean over
// heads).
std::int64_t most_pointed_token(const Run& run, std::int64_t layer);

// Throws when the token has no row, or the numbers are missing, of a wrong shape or no probabilities.
Heat make_heat(const Run& run, const HeatRequest& request);

// The largest value on a patch that shows the picture.
double strongest(const Heat& heat);
// That patch; none when nothing was read.
std::optional<GridPlace> strongest_place(const Heat& heat);

// Self-attention of one patch inside the vision encoder.
struct VisionHeat {
    std::int64_t picture = 0;
    GridPlace query;
    std::string layer_title, head_text;
    std::vector<double> grid;
    Ledger ledger;
    PictureGeometry geometry;
};

// layer: "vision.N" or "global.N"; head: mean, max or a number. Throws when the trace lacks the numbers.
VisionHeat make_vision_heat(const Run& run, const std::string& layer, const std::string& head,
                            std::int64_t picture, GridPlace query);

// heads [head][key] -> [key]
std::vector<double> mean_over_heads(const std::vector<std::vector<double>>& heads);

// How spread a head's attention is, in bits: 0 one key, log2(keys) all alike.
double entropy_bits(const std::vector<double>& probabilities);

// "5.2 of at most 8.0 bits, as wide as 37 of 260 keys read alike"
std::string spread_text(double bits, double most_bits);

std::string head_text(const HeatRequest& request, std::int64_t n_heads);  // "head 3", "mean of 8 heads"

// Everything about the heat as JSON, numbers in full.
std::string heat_json(const Run& run, const Heat& heat);

}  // namespace pictor
