#include "base/safetensors_writer.h"

#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "base/little_endian.h"

namespace pictor {
namespace {

std::string quoted(const std::string& text)
{
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The header's text; bytes: of all tensors together.
std::string make_header(const std::filesystem::path& path, const std::vector<TensorHead>& heads,
                        const std::map<std::string, std::string>& metadata, std::uint64_t& bytes)
{
    std::string text;
    for (const auto& [key, value] : metadata)
        text += fmt::format("{}{}:{}", text.empty() ? "\"__metadata__\":{" : ",", quoted(key), quoted(value));
    if (!metadata.empty())
        text += "}";
    std::set<std::string> names;
    for (const TensorHead& head : heads) {
        if (!names.insert(head.name).second)
            throw std::runtime_error(
                fmt::format("{}: tensor {} appears twice", path.string(), brief_json(head.name)));
        const auto end = bytes + static_cast<std::uint64_t>(checked_size(head.name, head.shape)) *
                                     (head.whole  ? sizeof(std::int64_t)
                                      : head.bf16 ? sizeof(std::uint16_t)
                                                  : sizeof(float));
        text += fmt::format(R"({}{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                            text.empty() ? "" : ",", quoted(head.name),
                            head.whole  ? "I64"
                            : head.bf16 ? "BF16"
                                        : "F32",
                            fmt::join(head.shape, ","), bytes, end);
        bytes = end;
    }
    text = "{" + text + "}";
    text.append((8 - text.size() % 8) % 8, ' ');  // so that the tensors start at a multiple of 8 bytes
    return text;
}

template <typename Number> std::string_view bytes_of(const Number* values, std::int64_t count)
{
    return {reinterpret_cast<const char*>(values), static_cast<std::size_t>(count) * sizeof(Number)};
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorHead>& heads,
                                     const std::map<std::string, std::string>& metadata, Overwrite overwrite)
    : path_(path), file_(path, overwrite)
{
    const std::string header = make_header(path, heads, metadata, bytes_left_);
    const std::uint64_t header_bytes = header.size();
    file_.write(bytes_of(&header_bytes, 1));
    file_.write(header);
}

void SafetensorsWriter::append(const float* values, std::int64_t count)
{
    const std::string_view bytes = bytes_of(values, count);
    bytes_left_ -= bytes.size();
    file_.write(bytes);
}

void SafetensorsWriter::append(const std::int64_t* values, std::int64_t count)
{
    const std::string_view bytes = bytes_of(values, count);
    bytes_left_ -= bytes.size();
    file_.write(bytes);
}

void SafetensorsWriter::append(const std::uint16_t* bf16, std::int64_t count)
{
    const std::string_view bytes = bytes_of(bf16, count);
    bytes_left_ -= bytes.size();
    file_.write(bytes);
}

void SafetensorsWriter::finish()
{
    if (bytes_left_ != 0)  // as it is too when there were more: it is unsigned
        throw std::runtime_error(
            fmt::format("{}: the tensors have other sizes than the header says", path_.string()));
    file_.close();
}

void write_safetensors(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors,
                       Overwrite overwrite)
{
    std::vector<TensorHead> heads;
    for (const OutputTensor& tensor : tensors)
        heads.push_back({tensor.name, tensor.values.index() == 1, tensor.shape});
    SafetensorsWriter writer(path, heads, {}, overwrite);
    for (const OutputTensor& tensor : tensors) {
        const std::int64_t count = checked_size(tensor.name, tensor.shape);
        std::visit([&](const auto* values) { writer.append(values, count); }, tensor.values);
    }
    writer.finish();
}

}  // namespace pictor
