// A file mapped into memory, read only: the one place of reference/ that asks the operating system for mmap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace pictor {

// Pages are read when first touched, so opening a file of many gigabytes costs nothing. The file must not
// shrink while it is mapped.
class MappedFile {
public:
    // Throws std::runtime_error when the path is missing, unreadable or not a regular file.
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    const std::byte* data() const { return data_; }
    std::uint64_t size() const { return size_; }
    std::string_view text() const
    {
        return {reinterpret_cast<const char*>(data_), static_cast<std::size_t>(size_)};
    }

private:
    const std::byte* data_ = nullptr;  // null for an empty file
    std::uint64_t size_ = 0;
};

}  // namespace pictor
