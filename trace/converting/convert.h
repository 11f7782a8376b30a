// `trace convert`: traces from other programs' files, and the reverse.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pictor {

struct ConvertOptions {
    std::string to;                 // "trace", "safetensors" or "npy"; empty: by what the names look like
    std::vector<std::string> only;  // globs over names
    bool squeeze = false;           // drop leading axes of extent 1, such as another program's batch
    bool force = false;             // replace an existing output
};

// in: a .safetensors file, a folder of .npy files, a JSON file of transformers' model_addition_debugger, or a
// trace. out: a .safetensors file if named so; else a trace, or from a trace a folder of .npy files. Returns
// notes for the user, such as what was left out. Throws std::runtime_error.
std::vector<std::string> convert(const std::filesystem::path& in, const std::filesystem::path& out,
                                 const ConvertOptions& options);

}  // namespace pictor
