// Where a step's source and chapter are, seen from a drawing.
#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>

#include "viz/graphs/graph.h"

namespace pictor {
namespace {

// The checkout: the folder with reference/ and chapters/ from here upwards.
std::filesystem::path checkout()
{
    std::error_code ignored;
    for (auto folder = std::filesystem::current_path(ignored); !folder.empty();
         folder = folder.parent_path()) {
        if (std::filesystem::exists(folder / "reference" / "main.cpp", ignored))
            return folder;
        if (folder == folder.parent_path())
            break;
    }
    return {};
}

std::string relative_link(const std::filesystem::path& target, const std::filesystem::path& output)
{
    std::error_code ignored;
    const auto folder = output.empty() || output == "-" ? std::filesystem::current_path()
                                                        : std::filesystem::absolute(output).parent_path();
    return std::filesystem::proximate(target, folder, ignored).generic_string();
}

// Whether a chapter's second line, "<!-- chapter covers: FILES; trace: NAMES -->", names the source file of a
// step. reference/vision/mlp.cpp is the step "mlp", and "vision-mlp".
bool covers_step(const std::filesystem::path& chapter, const std::string& step)
{
    std::ifstream stream(chapter);
    std::string line;
    for (int i = 0; i < 5 && std::getline(stream, line); ++i) {
        const std::size_t covers = line.find("chapter covers:");
        if (covers == std::string::npos)
            continue;
        std::istringstream files(line.substr(covers + 15, line.find(';') - covers - 15));
        for (std::string word; files >> word;) {
            const std::filesystem::path file(word);
            std::string name = file.stem().string();
            std::replace(name.begin(), name.end(), '_', '-');
            if (file.extension() == ".cpp" &&
                (step == name || step == file.parent_path().filename().string() + "-" + name))
                return true;
        }
    }
    return false;
}

}  // namespace

// A trace names its sources, and may come from anywhere: a link leads to this project's own C++ and nowhere
// else. A browser shows such a file as text; it would run the scripts of an .html or .svg that lies beside
// it.
std::string source_link(const std::string& file, const std::filesystem::path& output)
{
    std::error_code ignored;
    const std::filesystem::path root = checkout(), target = root / file;
    const bool known =
        file.starts_with("reference/") && (file.ends_with(".cpp") || file.ends_with(".h")) &&
        std::all_of(file.begin(), file.end(),
                    [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '/' || c == '.'; }) &&
        file.find("..") == std::string::npos;
    if (root.empty() || !known || !std::filesystem::is_regular_file(target, ignored))
        return "";
    for (std::filesystem::path folder = target.parent_path(); folder != root; folder = folder.parent_path())
        if (std::filesystem::is_symlink(folder, ignored) ||
            std::filesystem::exists(folder / "trace.json", ignored))
            return "";
    return std::filesystem::is_symlink(target, ignored) ? "" : relative_link(target, output);
}

std::string chapter_link(const std::string& stem, const std::filesystem::path& output)
{
    std::error_code ignored;
    const std::filesystem::path root = checkout();
    if (root.empty() || stem.empty())
        return "";
    // Chapters bear a number before their stem: 14-cross-attention.md.
    for (const auto& entry : std::filesystem::directory_iterator(root / "chapters", ignored)) {
        const std::string name = entry.path().stem().string();
        const std::size_t dash = name.find('-');
        if (entry.path().extension() == ".md" &&
            (name == stem || (dash != std::string::npos && name.substr(dash + 1) == stem)))
            return relative_link(entry.path(), output);
    }
    // A step without a chapter of its own is explained in the one that covers its source: resize in tiles.
    for (const auto& entry : std::filesystem::directory_iterator(root / "chapters", ignored))
        if (entry.path().extension() == ".md" && covers_step(entry.path(), stem))
            return relative_link(entry.path(), output);
    return "";
}

}  // namespace pictor
