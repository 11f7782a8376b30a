// A folder that a program fills: beside its target, under another name until it is complete.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace pictor {

// How a kind of folder is recognized, so that --force replaces nothing else.
struct FolderKind {
    std::string name;      // "trace folder"
    std::string required;  // a file that each has, unless it is empty; or nothing
    // Whether such a folder has a file of this name, relative to it: "tensors/000-lm_head.json".
    std::function<bool(const std::filesystem::path& folder, const std::string& file)> belongs;
};

class OutputFolder {
public:
    // Makes the temporary folder. Throws std::runtime_error when something bears the target's name already;
    // with `force` only when that is a file, or a folder that holds anything that such a folder does not.
    OutputFolder(const std::filesystem::path& target, FolderKind kind, bool force);
    ~OutputFolder();  // not moved into place: removes it
    OutputFolder(const OutputFolder&) = delete;

    const std::filesystem::path& path() const { return temporary_; }  // where to write
    void make_subfolder(const std::string& name) const;

    // Gives it the target's name, once all is on the disk; an old folder there is removed last. Throws
    // std::runtime_error.
    void move_into_place();

private:
    std::filesystem::path checked_target() const;
    void refuse(const std::string& why) const;

    std::filesystem::path wanted_, target_, temporary_;  // as it was named; absolute; the temporary one
    FolderKind kind_;
    bool force_, in_place_ = false;
};

}  // namespace pictor
