#include "base/memory_map.h"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/input_file.h"

namespace pictor {

MappedFile::MappedFile(const std::filesystem::path& path)
{
    const int file = open_regular_file(path, "a file of tensors", size_);
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
