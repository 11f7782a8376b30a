// A heatmap where the question was asked: in the terminal.
#pragma once

#include <string>

#include "viz/drawing/raster.h"
#include "viz/heatmaps/heatmap.h"

namespace pictor {

struct TerminalLook {
    int columns = 80;
    bool colour = false;  // half blocks in 24-bit colour; otherwise two letters for each patch
};

// What standard output is: its width, and whether it takes colour (NO_COLOR and TERM=dumb say no).
TerminalLook terminal_look();

// The picture and where the row looked, side by side where there is room; below it what is shown and the
// ledger.
std::string terminal_heatmap(const Run& run, const Heat& heat, const Raster& picture, bool smooth,
                             const TerminalLook& look);

}  // namespace pictor
