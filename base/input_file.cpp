#include "base/input_file.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pictor {
namespace {

[[noreturn]] void refuse(const std::filesystem::path& file, std::string_view found, std::string_view wanted)
{
    throw std::runtime_error(fmt::format("{}: {}; wanted {}", file.string(), found, wanted));
}

std::string_view kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe, not a regular file"
           : S_ISCHR(mode)  ? "a device, not a regular file"
                            : "not a regular file";
}

}  // namespace

int open_regular_file(const std::filesystem::path& file, std::string_view wanted, std::uint64_t& bytes)
{
    // O_NONBLOCK: a pipe that nobody writes to does not stop the program before it is recognized as one.
    const int opened = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        refuse(file,
               errno == ENOENT ? "no such file" : fmt::format("cannot be read: {}", std::strerror(errno)),
               wanted);
    struct stat status {};
    if (::fstat(opened, &status) != 0 || !S_ISREG(status.st_mode)) {
        ::close(opened);
        refuse(file, kind_of(status.st_mode), wanted);
    }
    bytes = static_cast<std::uint64_t>(status.st_size);
    return opened;
}

std::string read_whole_file(const std::filesystem::path& file, std::uint64_t most_bytes,
                            std::string_view wanted)
{
    std::uint64_t size = 0;
    const int opened = open_regular_file(file, wanted, size);
    std::string bytes;
    std::size_t done = 0;
    ssize_t count = 0;
    if (size <= most_bytes) {
        bytes.resize(static_cast<std::size_t>(size));
        while (done < bytes.size() && (count = ::read(opened, bytes.data() + done, bytes.size() - done)) > 0)
            done += static_cast<std::size_t>(count);
    }
    const int error = errno;
    ::close(opened);
    if (size > most_bytes)
        refuse(file, fmt::format("{} bytes", size),
               fmt::format("{} of at most {} bytes", wanted, most_bytes));
    if (count < 0)
        refuse(file, fmt::format("cannot be read: {}", std::strerror(error)), wanted);
    bytes.resize(done);  // shorter when somebody cut the file meanwhile
    return bytes;
}

}  // namespace pictor
