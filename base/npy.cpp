#include "base/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/input_file.h"
#include "base/shape.h"
#include "base/shown_text.h"
#include "base/stored_numbers.h"

namespace pictor {
namespace {

constexpr std::int64_t numbers_per_block = 1 << 16;

// numpy's names of what can be read, and safetensors'.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> types{{{"f2", "F16"},
                                                                              {"f4", "F32"},
                                                                              {"f8", "F64"},
                                                                              {"i1", "I8"},
                                                                              {"i4", "I32"},
                                                                              {"i8", "I64"},
                                                                              {"u1", "U8"},
                                                                              {"b1", "BOOL"}}};

std::string_view skip_spaces(std::string_view text)
{
    return text.substr(std::min(text.find_first_not_of(" \t\n"), text.size()));
}

// What follows "'key':" in a header, which is a Python dictionary; empty when it has no such key.
std::string_view after_key(std::string_view header, const std::string& key)
{
    const std::size_t at = header.find("'" + key + "'");
    if (at == std::string_view::npos)
        return {};
    const std::string_view colon = skip_spaces(header.substr(at + key.size() + 2));
    return colon.starts_with(':') ? skip_spaces(colon.substr(1)) : std::string_view();
}

// "'<f4', ..." -> "f4"; big-endian numbers keep their '>', which no type has.
std::string_view quoted_type(std::string_view text)
{
    if (!text.starts_with('\''))
        return {};
    text = text.substr(1, text.find('\'', 1) - 1);
    return text.starts_with('<') || text.starts_with('|') || text.starts_with('=') ? text.substr(1) : text;
}

// "(3, 4), ..." -> 3 and 4; nothing when it is no tuple of whole numbers.
std::optional<Shape> tuple(std::string_view text)
{
    constexpr std::size_t most_axes = 32;
    Shape shape;
    if (!text.starts_with('('))
        return std::nullopt;
    for (text = skip_spaces(text.substr(1)); !text.starts_with(')');) {
        std::int64_t extent = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), extent);
        if (error != std::errc() || extent < 0 || shape.size() == most_axes)
            return std::nullopt;
        shape.push_back(extent);
        text = skip_spaces(text.substr(static_cast<std::size_t>(end - text.data())));
        if (text.starts_with(','))
            text = skip_spaces(text.substr(1));
        else if (!text.starts_with(')'))
            return std::nullopt;
    }
    return shape;
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
    std::uint64_t file_bytes = 0;
    const int opened = open_regular_file(path_, "an .npy file", file_bytes);
    file_.reset(::fdopen(opened, "rb"));
    std::array<char, 12> start{};
    if (!file_ || std::fread(start.data(), 1, 12, file_.get()) != 12 ||
        std::memcmp(start.data(), "\x93NUMPY", 6) != 0)
        throw std::runtime_error(
            fmt::format("{}: is no .npy file (or is shorter than a header)", path_.string()));
    const bool version_1 = start[6] == 1;
    const std::uint32_t length =
        version_1 ? number_at<std::uint16_t>(start.data() + 8) : number_at<std::uint32_t>(start.data() + 8);
    if (length > 65536)
        throw std::runtime_error(
            fmt::format("{}: .npy header of {} bytes; want at most 65536", path_.string(), length));
    std::string text(length, '\0');
    first_byte_ = (version_1 ? 10 : 12) + static_cast<std::int64_t>(length);
    std::fseek(file_.get(), first_byte_ - static_cast<std::int64_t>(length), SEEK_SET);
    if (std::fread(text.data(), 1, length, file_.get()) != length)
        throw std::runtime_error(fmt::format("{}: .npy header is cut short", path_.string()));
    parse_header(text);

    size_ = checked_size(path_.string(), shape_);
    bytes_each_ = stored_bytes(type_);
    const std::int64_t bytes = static_cast<std::int64_t>(file_bytes) - first_byte_;
    if (bytes != size_ * bytes_each_)
        throw std::runtime_error(fmt::format("{}: shape {} of {} needs {} bytes of numbers, the file has {}",
                                             path_.string(), shape_text(shape_), type_, size_ * bytes_each_,
                                             bytes));
}

void NpyFile::parse_header(const std::string& text)
{
    const std::string_view type = quoted_type(after_key(text, "descr"));
    for (const auto& [numpy, safetensors] : types)
        if (numpy == type)
            type_ = safetensors;
    if (type_.empty())
        throw std::runtime_error(
            fmt::format("{}: want little-endian f2, f4, f8, i1, i4, i8, u1 or b1; header is {}",
                        path_.string(), in_quotes(text)));
    if (!after_key(text, "fortran_order").starts_with("False"))
        throw std::runtime_error(
            fmt::format("{}: want row-major order ('fortran_order': False)", path_.string()));
    const std::optional<Shape> shape = tuple(after_key(text, "shape"));
    if (!shape)
        throw std::runtime_error(
            fmt::format("{}: .npy header without a shape: {}", path_.string(), in_quotes(text)));
    shape_ = *shape;
}

std::string NpyFile::dtype() const { return type_ == "F16" ? "F16" : type_[0] == 'F' ? "F32" : "I64"; }

void NpyFile::seek(std::int64_t position)
{
    position_ = std::clamp<std::int64_t>(position, 0, size_);
    std::fseek(file_.get(), first_byte_ + position_ * bytes_each_, SEEK_SET);
}

template <typename Number> std::int64_t NpyFile::read_as(Number* values, std::int64_t count)
{
    std::int64_t done = 0;
    for (count = std::min(count, size_ - position_); done < count;) {
        const std::int64_t now = std::min(count - done, numbers_per_block);
        block_.resize(static_cast<std::size_t>(now * bytes_each_));
        if (std::fread(block_.data(), 1, block_.size(), file_.get()) != block_.size())
            throw std::runtime_error(fmt::format("{}: cannot be read", path_.string()));
        convert_numbers(type_, block_.data(), now, values + done);
        done += now;
    }
    position_ += done;
    return done;
}

std::int64_t NpyFile::read(float* values, std::int64_t count) { return read_as(values, count); }

std::int64_t NpyFile::read(std::int64_t* values, std::int64_t count)
{
    if (type_[0] == 'F')
        throw std::runtime_error(
            fmt::format("{}: holds floats ({}); want whole numbers", path_.string(), type_));
    return read_as(values, count);
}

}  // namespace pictor
