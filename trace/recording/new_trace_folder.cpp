#include "trace/recording/new_trace_folder.h"

#include <fstream>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

namespace fs = std::filesystem;

namespace pictor {
namespace {

bool looks_like_a_trace(const fs::path& folder)
{
    std::ifstream file(folder / "trace.json", std::ios::binary);
    std::string start(4096, '\0');
    file.read(start.data(), static_cast<std::streamsize>(start.size()));
    start.resize(static_cast<std::size_t>(file.gcount()));
    return start.find("\"pictor-trace\"") != std::string::npos;
}

// Where the trace goes, checked: absolute, symbolic links followed, without a slash at the end.
fs::path checked_target(const fs::path& folder, bool force)
{
    fs::path target = fs::weakly_canonical(fs::absolute(folder));
    if (target.filename().empty())
        target = target.parent_path();
    if (folder.empty() || target.filename().empty())
        throw std::runtime_error(
            fmt::format("trace folder '{}': want the name of a folder to make", folder.string()));
    if (!fs::exists(fs::symlink_status(target)))
        return target;
    if (!fs::is_directory(target))
        throw std::runtime_error(
            fmt::format("trace folder {}: there is a file of this name", folder.string()));
    if (!force)
        throw std::runtime_error(
            fmt::format("trace folder {}: exists already; choose another name, or --force to replace it",
                        folder.string()));
    if (!fs::is_empty(target) && !looks_like_a_trace(target))
        throw std::runtime_error(fmt::format(
            "trace folder {}: holds something that is not a trace (no trace.json of format \"pictor-trace\"),"
            " so --force does "
            "not replace it",
            folder.string()));
    return target;
}

fs::path make_partial_folder(const fs::path& target)
{
    fs::create_directories(target.parent_path());
    for (int attempt = 0; attempt < 1000; ++attempt) {
        const std::string suffix = attempt == 0 ? "" : fmt::format("-{}", attempt);
        const fs::path partial =
            target.parent_path() /
            fmt::format(".{}.partial-{}{}", target.filename().string(), getpid(), suffix);
        if (fs::create_directory(partial)) {
            fs::create_directory(partial / "tensors");
            return partial;
        }
    }
    throw std::runtime_error(
        fmt::format("trace folder {}: cannot make a temporary folder beside it", target.string()));
}

[[noreturn]] void refuse(const fs::path& folder, const char* what, const fs::filesystem_error& error)
{
    throw std::runtime_error(
        fmt::format("trace folder {}: {}: {}", folder.string(), what, error.code().message()));
}

}  // namespace

NewTraceFolder::NewTraceFolder(const fs::path& target, bool force) : wanted_(target), force_(force)
{
    try {
        target_ = checked_target(wanted_, force_);
        partial_ = make_partial_folder(target_);
    } catch (const fs::filesystem_error& error) {
        refuse(wanted_, "cannot be made", error);
    }
}

NewTraceFolder::~NewTraceFolder()
{
    std::error_code ignored;
    if (!in_place_)
        fs::remove_all(partial_, ignored);
}

// The old folder steps aside before the new one takes its name, and comes back should that fail.
void NewTraceFolder::move_into_place()
{
    try {
        fs::path old;
        if (fs::exists(fs::symlink_status(target_))) {
            checked_target(wanted_, force_);  // somebody may have put something else there meanwhile
            old = partial_;
            old += ".old";
            fs::rename(target_, old);
        }
        try {
            fs::rename(partial_, target_);
        } catch (const fs::filesystem_error&) {
            if (!old.empty())
                fs::rename(old, target_);
            throw;
        }
        in_place_ = true;
        if (!old.empty())
            fs::remove_all(old);
    } catch (const fs::filesystem_error& error) {
        refuse(wanted_, "cannot be put in place", error);
    }
}

}  // namespace pictor
