#include "trace/recording/new_trace_folder.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace fs = std::filesystem;

namespace pictor {
namespace {

bool says_it_is_a_trace(const fs::path& file)
{
    std::error_code ignored;
    if (!fs::is_regular_file(file, ignored))
        return false;
    std::ifstream stream(file, std::ios::binary);
    std::string start(4096, '\0');
    stream.read(start.data(), static_cast<std::streamsize>(start.size()));
    start.resize(static_cast<std::size_t>(stream.gcount()));
    return start.find("\"pictor-trace\"") != std::string::npos;
}

// "tensors/000-lm_head.json"
bool is_tensor_file(const std::string& name)
{
    if (!name.starts_with("tensors/") || !(name.ends_with(".json") || name.ends_with(".npy")))
        return false;
    const std::string stem = name.substr(8);
    const std::size_t dash = stem.find('-');
    return dash != std::string::npos && dash >= 3 && stem.find('/') == std::string::npos &&
           std::all_of(stem.begin(), stem.begin() + static_cast<std::ptrdiff_t>(dash),
                       [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

FolderKind trace_folder_kind()
{
    return {"trace folder", "trace.json", [](const fs::path& folder, const std::string& file) {
                return file == "trace.json" ? says_it_is_a_trace(folder / file)
                                            : file == "tensors/" || is_tensor_file(file);
            }};
}

}  // namespace pictor
