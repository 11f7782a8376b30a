// numpy's .npy files, a block at a time.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace pictor {

// The header of a file of little-endian float32, or int64, in row-major order.
std::string npy_header(const std::vector<std::int64_t>& shape, bool integers);

class NpyFile {
public:
    // Reads and checks the header: row-major, little-endian, f2, f4, f8, i4, i8, u1, i1 or b1, and as many
    // bytes as the shape says. Throws std::runtime_error.
    explicit NpyFile(std::filesystem::path path);

    const std::vector<std::int64_t>& shape() const { return shape_; }
    std::string dtype() const;  // the trace's word: "F32" (f4, f8), "F16" or "I64"
    std::int64_t size() const { return size_; }

    void seek(std::int64_t position);
    // Up to `count` numbers from the present position on; returns how many.
    std::int64_t read(float* values, std::int64_t count);
    std::int64_t read(std::int64_t* values, std::int64_t count);

private:
    template <typename Number> std::int64_t read_as(Number* values, std::int64_t count);
    void parse_header(const std::string& text);

    std::filesystem::path path_;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, &std::fclose};
    std::vector<std::int64_t> shape_;
    std::string type_;  // as safetensors names it: "F32"
    std::int64_t size_ = 0, position_ = 0, first_byte_ = 0, bytes_each_ = 0;
    std::vector<char> block_;
};

}  // namespace pictor
