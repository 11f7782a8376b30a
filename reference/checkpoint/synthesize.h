// Writes a checkpoint of any shape whose numbers nobody trained, to measure and to compare at the real size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace pictor {

struct SynthesizeOptions {
    std::string preset = "11b";              // whose widths: 11b or 90b
    std::vector<std::int64_t> layers;        // self, cross, local, global; empty: the preset's
    std::int64_t vocabulary = 0;             // 0: the preset's
    bool f32 = false;                        // else BF16
    std::filesystem::path tokenizer_folder;  // a checkpoint whose tokenizer is copied
    std::filesystem::path folder;            // to be made
    bool force = false;                      // replaces an earlier one
};

// `options.folder` appears when everything is on the disk. Throws std::runtime_error for sizes that no model
// has, a vocabulary smaller than the tokenizer's, a disk without room, and as OutputFolder does. Tells
// `on_share_done`, after each tensor, what share of the bytes is written.
void synthesize(const SynthesizeOptions& options, const std::function<void(double)>& on_share_done);

}  // namespace pictor
