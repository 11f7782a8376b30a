// Where drawings go: files by their name's ending, and the programs that turn one format into another.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/output_file.h"

namespace pictor {

// Runs a program (found on PATH, no shell between) with `input` on its stdin; returns what it writes to
// stdout. Throws std::runtime_error with its stderr when it fails, and with `package_hint` when it is not
// installed.
std::string run_program(const std::vector<std::string>& command, const std::string& input,
                        const std::string& package_hint);

// Writes the SVG as it is, or as PNG or PDF by the file's ending. `zoom`: PNG pixels per SVG pixel.
// Throws for other endings and when the file cannot be written.
void write_drawing(const std::string& svg, const std::filesystem::path& file,
                   Overwrite overwrite = Overwrite::same_kind, double zoom = 2);

// The name for a drawing of a trace: runs/demo -> runs/demo-ENDING.
std::filesystem::path beside_trace(const std::filesystem::path& trace, const std::string& ending);

std::string lower_extension(const std::filesystem::path& file);  // ".png"

}  // namespace pictor
