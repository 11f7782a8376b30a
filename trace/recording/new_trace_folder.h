// The folder that a trace is written into: beside its target, under another name until it is complete.
#pragma once

#include <filesystem>

namespace pictor {

class NewTraceFolder {
public:
    // Makes the temporary folder. Throws std::runtime_error when something stands at the target already; with
    // `force` only when that is neither empty nor a trace.
    NewTraceFolder(const std::filesystem::path& target, bool force);
    ~NewTraceFolder();  // not moved into place: removes it
    NewTraceFolder(const NewTraceFolder&) = delete;

    // Where to write; holds an empty folder "tensors".
    const std::filesystem::path& path() const { return partial_; }

    // Gives it the target's name; an old trace there is removed last. Throws std::runtime_error.
    void move_into_place();

private:
    std::filesystem::path wanted_, target_, partial_;  // as it was named; absolute; the temporary one
    bool force_, in_place_ = false;
};

}  // namespace pictor
