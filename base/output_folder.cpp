#include "base/output_folder.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/shown_text.h"
#include "base/temporary.h"

namespace fs = std::filesystem;

namespace pictor {
namespace {

// Begins to write what the file holds to the disk. A trace has thousands of files: begun together, they take
// a third of the time that they take when each begins with its own fsync.
void begin_to_sync([[maybe_unused]] const fs::path& path)
{
#ifdef SYNC_FILE_RANGE_WRITE
    if (const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC); file >= 0) {
        ::sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE);
        ::close(file);
    }
#endif
}

void sync_to_disk(const fs::path& path)
{
    if (const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC); file >= 0) {
        ::fsync(file);
        ::close(file);
    }
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& target, FolderKind kind, bool force)
    : wanted_(target), kind_(std::move(kind)), force_(force)
{
    try {
        target_ = checked_target();
        fs::create_directories(target_.parent_path());
    } catch (const fs::filesystem_error& error) {
        refuse("cannot be made: " + error.code().message());
    }
    temporary_ = temporary_name(target_);
    if (!create_temporary_folder(temporary_))
        refuse(fmt::format("cannot be made: {}", std::strerror(errno)));
}

OutputFolder::~OutputFolder()
{
    if (!in_place_)
        remove_temporary(temporary_);
}

void OutputFolder::make_subfolder(const std::string& name) const
{
    if (!create_temporary_folder(temporary_ / name))
        refuse(fmt::format("cannot be made: {}", std::strerror(errno)));
}

void OutputFolder::refuse(const std::string& why) const
{
    throw std::runtime_error(
        fmt::format("{} {}: {}", kind_.name, wanted_.empty() ? "''" : wanted_.string(), why));
}

// Where it goes: absolute, symbolic links followed, without a slash at the end.
fs::path OutputFolder::checked_target() const
{
    fs::path target = fs::weakly_canonical(fs::absolute(wanted_));
    if (target.filename().empty())
        target = target.parent_path();
    if (wanted_.empty() || target.filename().empty())
        refuse("want the name of a folder to make");
    if (!fs::exists(fs::symlink_status(target)))
        return target;
    if (!fs::is_directory(target))
        refuse("there is a file of this name");
    if (!force_)
        refuse("exists already; choose another name, or --force to replace it");
    if (!fs::is_empty(target) && !kind_.required.empty() && !kind_.belongs(target, kind_.required))
        refuse(fmt::format("holds something that is not a {} (its {} is missing, or another program's), so "
                           "--force does not replace it",
                           kind_.name, kind_.required));
    for (const auto& entry : fs::recursive_directory_iterator(target)) {
        const std::string name =
            entry.path().lexically_relative(target).generic_string() + (entry.is_directory() ? "/" : "");
        if (entry.is_symlink() || !kind_.belongs(target, name))
            refuse(fmt::format("holds {}, which is no part of a {}, so --force does not replace it; move it "
                               "away first",
                               in_quotes(name), kind_.name));
    }
    return target;
}

void OutputFolder::move_into_place()
{
    try {
        for (const auto& entry : fs::recursive_directory_iterator(temporary_))
            if (entry.is_regular_file())
                begin_to_sync(entry.path());
        for (const auto& entry : fs::recursive_directory_iterator(temporary_))
            sync_to_disk(entry.path());
        sync_to_disk(temporary_);
        const bool replaces = fs::exists(fs::symlink_status(target_));
        if (replaces)
            checked_target();  // somebody may have put something else there meanwhile
        if (!put_in_place(temporary_, target_, replaces))
            refuse(fmt::format("cannot be put in place: {}", std::strerror(errno)));
        in_place_ = true;
        if (replaces)
            remove_temporary(temporary_);  // which is the old one now
        sync_to_disk(target_.parent_path());
    } catch (const fs::filesystem_error& error) {
        refuse("cannot be put in place: " + error.code().message());
    }
}

}  // namespace pictor
