#include "base/npy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <regex>
#include <stdexcept>

#include <fmt/format.h>

#include "base/small_floats.h"
#include "trace/reading/reader.h"

namespace pictor {
namespace {

constexpr std::int64_t numbers_per_block = 1 << 16;

template <typename Stored> Stored stored_at(const char* bytes)
{
    Stored value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

template <typename Stored, typename Number>
void convert(const char* bytes, Number* values, std::int64_t count)
{
    for (std::int64_t i = 0; i < count; ++i)
        values[i] =
            static_cast<Number>(stored_at<Stored>(bytes + i * static_cast<std::int64_t>(sizeof(Stored))));
}

}  // namespace

// Version 1.0 header, padded so that the numbers start at a multiple of 64.
std::string npy_header(const std::vector<std::int64_t>& shape, bool integers)
{
    const std::string extents = fmt::format("{}{}", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
    std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                   integers ? "<i8" : "<f4", extents);
    text.append(63 - (10 + text.size()) % 64, ' ');
    text += '\n';
    std::string header("\x93NUMPY\x01\x00", 8);
    header += static_cast<char>(text.size() & 0xff);
    header += static_cast<char>(text.size() >> 8);
    return header + text;
}

NpyFile::NpyFile(std::filesystem::path path) : path_(std::move(path))
{
    if (!std::filesystem::is_regular_file(path_))
        throw std::runtime_error(fmt::format("{}: no such file", path_.string()));
    file_.open(path_, std::ios::binary);
    std::array<char, 12> start{};
    file_.read(start.data(), 12);
    if (!file_ || std::memcmp(start.data(), "\x93NUMPY", 6) != 0)
        throw std::runtime_error(
            fmt::format("{}: is no .npy file (or is shorter than a header)", path_.string()));
    const bool version_1 = start[6] == 1;
    const std::uint32_t length =
        version_1 ? stored_at<std::uint16_t>(start.data() + 8) : stored_at<std::uint32_t>(start.data() + 8);
    if (length > 65536)
        throw std::runtime_error(
            fmt::format("{}: .npy header of {} bytes; want at most 65536", path_.string(), length));
    std::string text(length, '\0');
    first_byte_ = (version_1 ? 10 : 12) + static_cast<std::int64_t>(length);
    file_.seekg(first_byte_ - static_cast<std::int64_t>(length));
    file_.read(text.data(), static_cast<std::streamsize>(length));
    if (!file_)
        throw std::runtime_error(fmt::format("{}: .npy header is cut short", path_.string()));
    parse_header(text);

    size_ = checked_size(path_.string(), shape_);
    bytes_each_ = kind_[1] - '0';
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    if (bytes - first_byte_ != size_ * bytes_each_)
        throw std::runtime_error(fmt::format("{}: shape {} of {} needs {} bytes of numbers, the file has {}",
                                             path_.string(), extents_text(shape_), kind_, size_ * bytes_each_,
                                             bytes - first_byte_));
}

void NpyFile::parse_header(const std::string& text)
{
    static const std::regex descr("'descr':\\s*'[<|=]?(f2|f4|f8|i1|i4|i8|u1|b1)'"),
        order("'fortran_order':\\s*False"), shape("'shape':\\s*\\(([0-9, ]*)\\)"), number("[0-9]{1,18}");
    std::smatch match;
    if (!std::regex_search(text, match, descr))
        throw std::runtime_error(fmt::format(
            "{}: want little-endian f2, f4, f8, i1, i4, i8, u1 or b1; header is {}", path_.string(), text));
    kind_ = match[1];
    if (!std::regex_search(text, order))
        throw std::runtime_error(
            fmt::format("{}: want row-major order ('fortran_order': False)", path_.string()));
    if (!std::regex_search(text, match, shape))
        throw std::runtime_error(fmt::format("{}: .npy header without a shape: {}", path_.string(), text));
    const std::string extents = match[1];
    for (auto at = std::sregex_iterator(extents.begin(), extents.end(), number); at != std::sregex_iterator();
         ++at)
        shape_.push_back(std::stoll(at->str()));
}

std::string NpyFile::dtype() const { return kind_ == "f2" ? "F16" : kind_[0] == 'f' ? "F32" : "I64"; }

void NpyFile::seek(std::int64_t position)
{
    position_ = std::clamp<std::int64_t>(position, 0, size_);
    file_.clear();
    file_.seekg(first_byte_ + position_ * bytes_each_);
}

template <typename Number> std::int64_t NpyFile::read_as(Number* values, std::int64_t count)
{
    std::int64_t done = 0;
    for (count = std::min(count, size_ - position_); done < count;) {
        const std::int64_t now = std::min(count - done, numbers_per_block);
        block_.resize(static_cast<std::size_t>(now * bytes_each_));
        file_.read(block_.data(), now * bytes_each_);
        if (!file_)
            throw std::runtime_error(fmt::format("{}: cannot be read", path_.string()));
        const char* const bytes = block_.data();
        if (kind_ == "f4")
            convert<float>(bytes, values + done, now);
        else if (kind_ == "f8")
            convert<double>(bytes, values + done, now);
        else if (kind_ == "i8")
            convert<std::int64_t>(bytes, values + done, now);
        else if (kind_ == "i4")
            convert<std::int32_t>(bytes, values + done, now);
        else if (kind_ == "i1")
            convert<std::int8_t>(bytes, values + done, now);
        else if (kind_ != "f2")
            convert<std::uint8_t>(bytes, values + done, now);
        else
            for (std::int64_t i = 0; i < now; ++i)
                values[done + i] =
                    static_cast<Number>(float_from_f16(stored_at<std::uint16_t>(bytes + 2 * i)));
        done += now;
    }
    position_ += done;
    return done;
}

std::int64_t NpyFile::read(float* values, std::int64_t count) { return read_as(values, count); }

std::int64_t NpyFile::read(std::int64_t* values, std::int64_t count)
{
    if (kind_[0] == 'f')
        throw std::runtime_error(
            fmt::format("{}: holds floats ({}); want whole numbers", path_.string(), kind_));
    return read_as(values, count);
}

}  // namespace pictor
