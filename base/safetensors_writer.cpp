#include "base/safetensors_writer.h"

#include <fstream>
#include <random>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "base/little_endian.h"

namespace pictor {

namespace {

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what)
{
    throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
}

struct OutputBytes {
    const char* data;
    std::uint64_t bytes;
};

OutputBytes bytes_of(const OutputTensor& tensor)
{
    std::uint64_t count = 1;
    for (const std::int64_t extent : tensor.shape)
        count *= static_cast<std::uint64_t>(extent);
    if (const auto* floats = std::get_if<const float*>(&tensor.values))
        return {reinterpret_cast<const char*>(*floats), count * sizeof(float)};
    return {reinterpret_cast<const char*>(std::get<const std::int64_t*>(tensor.values)),
            count * sizeof(std::int64_t)};
}

std::string make_header(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors)
{
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    std::uint64_t offset = 0;
    for (const OutputTensor& tensor : tensors) {
        if (header.contains(tensor.name))
            refuse(path, fmt::format("tensor {} appears twice", brief_json(tensor.name)));
        const std::uint64_t bytes = bytes_of(tensor).bytes;
        header[tensor.name] = {{"dtype", std::holds_alternative<const float*>(tensor.values) ? "F32" : "I64"},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');  // so that the tensors start at a multiple of 8 bytes
    return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors)
{
    // A rename would replace a device such as /dev/full by a plain file.
    if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path))
        refuse(path, "exists and is not a regular file");
    const std::string header = make_header(path, tensors);
    const std::uint64_t header_bytes = header.size();

    std::filesystem::path temporary = path;
    temporary += fmt::format(".{:08x}.partial", std::random_device{}());
    std::ofstream out(temporary, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
    out.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const OutputTensor& tensor : tensors) {
        const OutputBytes bytes = bytes_of(tensor);
        out.write(bytes.data, static_cast<std::streamsize>(bytes.bytes));
    }
    out.close();

    std::error_code error;
    if (out)
        std::filesystem::rename(temporary, path, error);
    if (!out || error) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        refuse(path, "cannot be written: is the folder there and writable, and the disk not full?");
    }
}

}  // namespace pictor
