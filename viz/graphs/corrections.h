// The popular simplified diagram of the architecture, with what is true beside what is commonly said.
#pragma once

#include <string>
#include <vector>

#include "viz/graphs/architecture.h"

namespace pictor {

// One box of the popular diagram. `number`: the correction's, as chapter 1 counts them; 0: nothing to
// correct.
struct Correction {
    int number = 0;
    std::string kind, title;  // kind: a class of the style sheet
    std::string said, is;     // said: empty where it is left out
};

// In the order data flows: the text side and the picture side.
std::vector<Correction> text_corrections(const ModelSizes& sizes);
std::vector<Correction> picture_corrections(const ModelSizes& sizes);

std::string corrections_drawing(const ModelSizes& sizes, DiagramStyle style);

}  // namespace pictor
