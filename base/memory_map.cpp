#include "base/memory_map.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace pictor {

MappedFile::MappedFile(const std::filesystem::path& path)
{
    // Not to be stopped by a pipe that nobody writes to: O_NONBLOCK, then only regular files pass.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        throw std::runtime_error(
            fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));

    struct stat status {};
    if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        ::close(file);
        throw std::runtime_error(fmt::format("{}: is not a regular file", path.string()));
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
    void* memory = nullptr;
    if (size_ > 0)
        memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    const int mmap_error = errno;
    ::close(file);  // the mapping outlives the descriptor, so many shards need no many open files
    if (memory == MAP_FAILED)
        throw std::runtime_error(
            fmt::format("{}: cannot be mapped: {}", path.string(), std::strerror(mmap_error)));
    data_ = static_cast<const std::byte*>(memory);
}

MappedFile::~MappedFile()
{
    if (data_ != nullptr)
        ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace pictor
