#include "base/output_file.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/temporary.h"

namespace fs = std::filesystem;

namespace pictor {
namespace {

constexpr std::size_t bytes_that_tell = 1024;

// What a file is by its first bytes; empty when they tell nothing.
std::string_view kind_of(std::string_view start)
{
    using namespace std::string_view_literals;
    for (const auto& [mark, kind] : {std::pair("\x89PNG"sv, "PNG"sv), std::pair("%PDF"sv, "PDF"sv),
                                     std::pair("\x93NUMPY"sv, "NPY"sv), std::pair("\xFF\xD8"sv, "JPEG"sv)})
        if (start.starts_with(mark))
            return kind;
    if (start.size() > 8 && start[8] == '{' && start.substr(4, 4) == "\0\0\0\0"sv)
        return "safetensors";
    std::string text(start.substr(std::min(start.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), start.size())));
    for (char& c : text)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (text.starts_with("<!doctype html") || text.starts_with("<html"))
        return "HTML";
    if (text.starts_with("<svg") || (text.starts_with("<?xml") && text.find("<svg") != std::string::npos))
        return "SVG";
    return text.starts_with('{') || text.starts_with('[') ? "JSON" : "";
}

// /dev/stdout, /dev/fd/3, /proc/self/fd/3 -> 1, 3, 3: files that are open already; else -1.
int open_descriptor(const std::string& name)
{
    if (name == "-" || name == "/dev/stdout")
        return STDOUT_FILENO;
    if (name == "/dev/stderr")
        return STDERR_FILENO;
    for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
        int number = -1;
        const char* const end = name.data() + name.size();
        if (name.starts_with(folder) && std::from_chars(name.data() + folder.size(), end, number).ptr == end)
            return number;
    }
    return -1;
}

}  // namespace

OutputFile::OutputFile(fs::path path, Overwrite overwrite)
    : path_(std::move(path)), target_(path_), overwrite_(overwrite), buffer_(new char[capacity])
{
    if (overwrite_ == Overwrite::new_file) {
        file_ = create_temporary_file(path_);
        if (file_ < 0)
            fail_with_errno();
        return;
    }
    if (const int descriptor = open_descriptor(path_.string()); descriptor >= 0) {
        std::fflush(stdout);
        std::cout.flush();
        file_ = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
        if (file_ < 0)
            fail_with_errno();
        return;
    }
    std::error_code error;
    if (fs::is_symlink(fs::symlink_status(path_, error)))
        target_ = fs::weakly_canonical(path_, error);  // the link stays, its target is replaced
    struct stat status {};
    const bool exists = ::stat(target_.c_str(), &status) == 0;
    if (path_.filename().empty() || (exists && S_ISDIR(status.st_mode)))
        fail("is a folder; want the name of a file");
    if (exists && !S_ISREG(status.st_mode)) {
        open_in_place();
        return;
    }
    temporary_ = temporary_name(target_);
    file_ = create_temporary_file(temporary_);
    if (file_ < 0)
        fail_with_errno();
    if (exists)
        ::fchmod(file_, status.st_mode & 0777);
}

// A device or a pipe. A pipe that nobody reads would stop the program for good, so it gets five seconds.
void OutputFile::open_in_place()
{
    for (int attempt = 0; attempt < 50; ++attempt) {
        file_ = ::open(target_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (file_ >= 0 || errno != ENXIO)
            break;
        ::usleep(100'000);
    }
    if (file_ < 0 && errno == ENXIO)
        fail("is a pipe that nobody reads; start its reader first");
    if (file_ < 0 || ::fcntl(file_, F_SETFL, ::fcntl(file_, F_GETFL) & ~O_NONBLOCK) < 0)
        fail_with_errno();
}

OutputFile::~OutputFile()
{
    if (file_ >= 0)
        ::close(file_);
    if (!temporary_.empty())
        remove_temporary(temporary_);
}

void OutputFile::write(std::string_view bytes)
{
    if (start_.size() < bytes_that_tell)
        start_ += bytes.substr(0, bytes_that_tell - start_.size());
    if (bytes.size() > capacity - used_) {
        flush();
        if (bytes.size() > capacity)
            return write_through(bytes.data(), bytes.size());
    }
    if (!bytes.empty())
        std::memcpy(buffer_.get() + used_, bytes.data(), bytes.size());
    used_ += bytes.size();
}

void OutputFile::flush()
{
    const std::size_t bytes = used_;
    used_ = 0;
    write_through(buffer_.get(), bytes);
}

void OutputFile::write_through(const char* bytes, std::size_t count)
{
    while (count > 0) {
        const ssize_t written = ::write(file_, bytes, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            fail_with_errno();
        bytes += written;
        count -= static_cast<std::size_t>(written);
    }
}

void OutputFile::check_kind() const
{
    std::string there(bytes_that_tell, '\0');
    std::ifstream old(target_, std::ios::binary);
    old.read(there.data(), static_cast<std::streamsize>(there.size()));
    there.resize(static_cast<std::size_t>(old.gcount()));
    const std::string_view kind = kind_of(start_);
    if (!there.empty() && (kind.empty() || kind != kind_of(there)))
        fail(fmt::format("exists and is no {} file; choose another name, or --force to replace it",
                         kind.empty() ? "such" : kind));
}

void OutputFile::close()
{
    flush();
    const int file = file_;
    const bool whole = temporary_.empty() || ::fsync(file) == 0;
    const int sync_error = errno;
    file_ = -1;
    if (::close(file) != 0)
        fail_with_errno();
    errno = sync_error;
    if (!whole)
        fail_with_errno();
    if (temporary_.empty())
        return;
    struct stat status {};
    const bool exists = ::stat(target_.c_str(), &status) == 0;
    if (exists && !S_ISREG(status.st_mode))
        fail("is not a regular file any more");
    if (exists && overwrite_ == Overwrite::same_kind)
        check_kind();
    if (!put_in_place(temporary_, target_))
        fail_with_errno();
    temporary_.clear();
}

void OutputFile::fail(const std::string& why) const
{
    throw std::runtime_error(fmt::format("{}: {}", path_ == "-" ? "standard output" : path_.string(), why));
}

void OutputFile::fail_with_errno() const { fail(fmt::format("cannot be written: {}", std::strerror(errno))); }

void write_whole_file(const fs::path& path, std::string_view bytes, Overwrite overwrite)
{
    OutputFile file(path, overwrite);
    file.write(bytes);
    file.close();
}

}  // namespace pictor
