// A file being written, buffered; every failure names the file. For the programs of trace/.
#pragma once

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pictor {

class OutputFile {
public:
    explicit OutputFile(std::filesystem::path path)
        : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wb")), buffer_(new char[capacity])
    {
        if (!file_)
            fail();
        std::setvbuf(file_, nullptr, _IONBF, 0);  // the buffer here is enough
    }
    ~OutputFile()
    {
        if (file_)
            std::fclose(file_);
    }
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::string_view bytes)
    {
        if (bytes.size() > capacity - used_) {
            flush();
            if (bytes.size() > capacity) {
                write_through(bytes.data(), bytes.size());
                return;
            }
        }
        std::memcpy(buffer_.get() + used_, bytes.data(), bytes.size());
        used_ += bytes.size();
    }

    // The shortest decimal that reads back to the same number.
    template <typename Number> void write_number(Number value)
    {
        constexpr std::size_t longest = 32;
        if (capacity - used_ < longest)
            flush();
        used_ = static_cast<std::size_t>(
            std::to_chars(buffer_.get() + used_, buffer_.get() + capacity, value).ptr - buffer_.get());
    }

    void close()
    {
        flush();
        std::FILE* file = file_;
        file_ = nullptr;
        if (std::fclose(file) != 0)
            fail();
    }

private:
    static constexpr std::size_t capacity = 1 << 16;

    void flush()
    {
        const std::size_t bytes = used_;
        used_ = 0;
        write_through(buffer_.get(), bytes);
    }
    void write_through(const char* bytes, std::size_t count)
    {
        if (count > 0 && std::fwrite(bytes, 1, count, file_) != count)
            fail();
    }
    [[noreturn]] void fail() const
    {
        throw std::runtime_error(path_.string() + ": cannot be written: " + std::strerror(errno));
    }

    std::filesystem::path path_;
    std::FILE* file_;
    std::unique_ptr<char[]> buffer_;
    std::size_t used_ = 0;
};

}  // namespace pictor
