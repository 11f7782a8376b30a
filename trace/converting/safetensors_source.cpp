// A .safetensors file as a source: 8 bytes of header length, a JSON header, the numbers.
#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/small_floats.h"
#include "trace/converting/tensor_source.h"

namespace fs = std::filesystem;
using nlohmann::ordered_json;

namespace pictor {
namespace {

constexpr std::int64_t block_size = 1 << 14;
constexpr std::uint64_t largest_header = 100'000'000;  // the format's own limit

struct StoredType {
    const char* name;
    std::int64_t bytes;
    const char* dtype;  // in a trace
};
constexpr std::array<StoredType, 8> stored_types{{{"F32", 4, "F32"},
                                                  {"F64", 8, "F32"},
                                                  {"F16", 2, "F16"},
                                                  {"BF16", 2, "BF16"},
                                                  {"I64", 8, "I64"},
                                                  {"I32", 4, "I64"},
                                                  {"U8", 1, "I64"},
                                                  {"BOOL", 1, "I64"}}};

template <typename Stored> Stored stored_at(const char* bytes)
{
    Stored value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

struct Place {
    StoredType type;
    std::int64_t first_byte, count;
};

class SafetensorsSource : public TensorSource {
public:
    explicit SafetensorsSource(const fs::path& file) : path_(file)
    {
        stream_.open(file, std::ios::binary);
        if (!stream_)
            throw std::runtime_error(fmt::format("{}: cannot be opened", file.string()));
        const ordered_json header = read_header();
        std::map<std::string, std::string> axes = axes_in(header);
        for (const auto& [name, value] : header.items())
            if (name != "__metadata__")
                add(name, value, axes[name]);
        check_overlaps();
    }
    void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) override;

private:
    ordered_json read_header();
    std::map<std::string, std::string> axes_in(const ordered_json& header) const;
    void add(const std::string& name, const ordered_json& value, const std::string& axes);
    void check_overlaps() const;

    fs::path path_;
    std::ifstream stream_;
    std::int64_t data_start_ = 0, data_size_ = 0;
    std::vector<Place> places_;
};

ordered_json SafetensorsSource::read_header()
{
    const auto size = static_cast<std::uint64_t>(fs::file_size(path_));
    std::array<char, 8> start{};
    stream_.read(start.data(), 8);
    const std::uint64_t length = stream_ ? stored_at<std::uint64_t>(start.data()) : 0;
    if (!stream_ || length > largest_header || length + 8 > size)
        throw std::runtime_error(
            fmt::format("{}: header of {} bytes in a file of {}; no .safetensors file, or cut short",
                        path_.string(), length, size));
    std::string text(length, '\0');
    stream_.read(text.data(), static_cast<std::streamsize>(length));
    data_start_ = static_cast<std::int64_t>(length) + 8;
    data_size_ = static_cast<std::int64_t>(size) - data_start_;
    ordered_json header;
    try {
        header = ordered_json::parse(text, [&](int depth, ordered_json::parse_event_t, ordered_json&) {
            if (depth > 8)
                throw std::runtime_error(fmt::format("{}: header is nested too deep", path_.string()));
            return true;
        });
    } catch (const ordered_json::exception& error) {
        throw std::runtime_error(
            fmt::format("{}: header is not valid JSON: {}", path_.string(), error.what()));
    }
    if (!header.is_object())
        throw std::runtime_error(fmt::format("{}: header is no JSON object", path_.string()));
    return header;
}

// Files that `trace convert` wrote keep the words of the axes among the metadata.
std::map<std::string, std::string> SafetensorsSource::axes_in(const ordered_json& header) const
{
    std::map<std::string, std::string> axes;
    if (const auto metadata = header.find("__metadata__"); metadata != header.end() && metadata->is_object())
        for (const auto& [key, value] : metadata->items())
            if (key.rfind("axes ", 0) == 0 && value.is_string())
                axes[key.substr(5)] = value.get<std::string>();
    return axes;
}

void SafetensorsSource::add(const std::string& name, const ordered_json& value, const std::string& axes)
{
    const std::string where = fmt::format("{}: tensor {}", path_.string(), name);
    const auto whole = [](const ordered_json& number) {
        return number.is_number_unsigned() && number.get<std::uint64_t>() < (std::uint64_t{1} << 62);
    };
    const auto list = [&](const char* key) {
        if (!value.is_object() || !value.contains(key) || !value[key].is_array() || value[key].size() > 16 ||
            !std::all_of(value[key].begin(), value[key].end(), whole))
            throw std::runtime_error(fmt::format("{}: \"{}\" is no list of whole numbers", where, key));
        return value[key].get<std::vector<std::int64_t>>();
    };
    SourceTensor tensor;
    split_step(name, tensor);
    check_tensor_name(where, tensor.name);
    tensor.shape = list("shape");
    const std::vector<std::int64_t> offsets = list("data_offsets");
    const std::string dtype =
        value.contains("dtype") && value["dtype"].is_string() ? value["dtype"].get<std::string>() : "";
    const auto type = std::find_if(stored_types.begin(), stored_types.end(),
                                   [&](const StoredType& each) { return dtype == each.name; });
    if (type == stored_types.end())
        throw std::runtime_error(
            fmt::format("{}: dtype '{}'; want F32, F64, F16, BF16, I64, I32, U8 or BOOL", where, dtype));
    const std::int64_t count = checked_size(where, tensor.shape);
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_size_ ||
        offsets[1] - offsets[0] != count * type->bytes)
        throw std::runtime_error(fmt::format("{}: data_offsets {} do not fit {} numbers of {} in {} bytes",
                                             where, extents_text(offsets), count, dtype, data_size_));
    tensor.dtype = type->dtype;
    for (std::size_t at = 0; at < axes.size();) {
        const std::size_t end = std::min(axes.find(' ', at), axes.size());
        tensor.axes.push_back(axes.substr(at, end - at));
        at = end + 1;
    }
    tensors_.push_back(tensor);
    places_.push_back({*type, data_start_ + offsets[0], count});
}

void SafetensorsSource::check_overlaps() const
{
    std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
    for (const Place& place : places_)
        if (place.count > 0)
            ranges.emplace_back(place.first_byte, place.first_byte + place.count * place.type.bytes);
    std::sort(ranges.begin(), ranges.end());
    for (std::size_t i = 1; i < ranges.size(); ++i)
        if (ranges[i].first < ranges[i - 1].second)
            throw std::runtime_error(fmt::format("{}: the data of two tensors overlap", path_.string()));
}

void SafetensorsSource::read(const SourceTensor& tensor, const Floats& floats, const Integers& integers)
{
    const Place& place = places_[static_cast<std::size_t>(&tensor - tensors_.data())];
    const std::string type = place.type.name;
    std::vector<char> bytes(static_cast<std::size_t>(block_size * place.type.bytes));
    std::vector<float> values(static_cast<std::size_t>(block_size));
    std::vector<std::int64_t> whole(static_cast<std::size_t>(block_size));
    stream_.clear();
    stream_.seekg(place.first_byte);
    for (std::int64_t done = 0; done < place.count;) {
        const std::int64_t count = std::min(block_size, place.count - done);
        stream_.read(bytes.data(), count * place.type.bytes);
        if (!stream_)
            throw std::runtime_error(
                fmt::format("{}: tensor {}: cannot be read", path_.string(), tensor.name));
        for (std::int64_t i = 0; i < count; ++i) {
            const auto at = static_cast<std::size_t>(i);
            const char* const number = bytes.data() + i * place.type.bytes;
            if (type == "F32")
                values[at] = stored_at<float>(number);
            else if (type == "F64")
                values[at] = static_cast<float>(stored_at<double>(number));
            else if (type == "F16")
                values[at] = float_from_f16(stored_at<std::uint16_t>(number));
            else if (type == "BF16")
                values[at] = float_from_bf16(stored_at<std::uint16_t>(number));
            else if (type == "I64")
                whole[at] = stored_at<std::int64_t>(number);
            else if (type == "I32")
                whole[at] = stored_at<std::int32_t>(number);
            else
                whole[at] = stored_at<std::uint8_t>(number);
        }
        if (tensor.dtype == "I64")
            integers(whole.data(), count);
        else
            floats(values.data(), count);
        done += count;
    }
}

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(const fs::path& file)
{
    return std::make_unique<SafetensorsSource>(file);
}

}  // namespace pictor
