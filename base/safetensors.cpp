#include "base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"

namespace pictor {

static_assert(std::endian::native == std::endian::little,
              "tensors are used as they lie in the file: little-endian");

namespace {

constexpr std::uint64_t max_header_bytes = 100'000'000;  // the format's own limit
constexpr std::size_t max_axes = 32;

// Bits of one number. Only F32, BF16, F16 and I64 are ever read; the others may stand in a file beside them.
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 21> dtype_bits{{
    {"F32", 32},    {"BF16", 16},   {"F16", 16},    {"I64", 64},    {"F64", 64},        {"U64", 64},
    {"I32", 32},    {"U32", 32},    {"I16", 16},    {"U16", 16},    {"I8", 8},          {"U8", 8},
    {"BOOL", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"C64", 64},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
}};

struct HeaderEntry {
    std::string name;
    std::string dtype;
    std::vector<std::uint64_t> shape;
    std::vector<std::uint64_t> offsets;
    std::set<std::string> fields_seen;
};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& what)
{
    throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
}

// Names come from the file: an error message shows at most this much of one.
std::string shown(const std::string& name) { return brief_json(nlohmann::json(name)); }

// Reads the header event by event and accepts exactly the format's two levels. A DOM would take many times
// the header's size and would silently keep the last of two equal names.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit HeaderReader(const std::filesystem::path& path) : path_(path) {}

    std::vector<HeaderEntry> entries;

    bool start_object(std::size_t) override
    {
        if (in_list_ || depth_ == 2)
            unexpected("an object");
        ++depth_;
        return true;
    }
    bool end_object() override
    {
        if (--depth_ == 1 && !in_metadata_)
            for (const char* field : {"dtype", "shape", "data_offsets"})
                if (!entries.back().fields_seen.contains(field))
                    refuse(path_, fmt::format("tensor {}: {} is missing", shown(entries.back().name), field));
        return true;
    }
    bool key(string_t& name) override
    {
        if (depth_ == 1) {
            if (!names_.insert(name).second)
                refuse(path_, fmt::format("tensor {} appears twice in the header", shown(name)));
            top_key_ = name;
            in_metadata_ = name == "__metadata__";
            if (!in_metadata_)
                entries.push_back({name, {}, {}, {}, {}});
            metadata_keys_.clear();
        } else if (in_metadata_) {
            if (!metadata_keys_.insert(name).second)
                refuse(path_, fmt::format("__metadata__: {} appears twice", shown(name)));
        } else {
            if (name != "dtype" && name != "shape" && name != "data_offsets")
                refuse(path_,
                       fmt::format("tensor {}: field {} is unknown, wanted dtype, shape and data_offsets",
                                   shown(entries.back().name), shown(name)));
            if (!entries.back().fields_seen.insert(name).second)
                refuse(path_, fmt::format("tensor {}: {} appears twice", shown(entries.back().name), name));
            field_ = name;
        }
        return true;
    }
    bool string(string_t& value) override
    {
        if (depth_ != 2 || in_list_ || (!in_metadata_ && field_ != "dtype"))
            unexpected(shown(value));
        if (!in_metadata_)
            entries.back().dtype = value;
        return true;
    }
    bool start_array(std::size_t) override
    {
        if (depth_ != 2 || in_list_ || in_metadata_ || field_ == "dtype")
            unexpected("a list");
        in_list_ = true;
        return true;
    }
    bool end_array() override
    {
        in_list_ = false;
        return true;
    }
    bool number_unsigned(number_unsigned_t value) override
    {
        if (!in_list_)
            unexpected(fmt::to_string(value));
        std::vector<std::uint64_t>& list = field_ == "shape" ? entries.back().shape : entries.back().offsets;
        if (list.size() == max_axes)
            refuse(path_, fmt::format("tensor {}: {} has more than {} numbers", shown(entries.back().name),
                                      field_, max_axes));
        list.push_back(value);
        return true;
    }
    bool number_integer(number_integer_t value) override { unexpected(fmt::to_string(value)); }
    bool number_float(number_float_t, const string_t& text) override { unexpected(text.substr(0, 40)); }
    bool null() override { unexpected("null"); }
    bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
    bool binary(binary_t&) override { unexpected("binary data"); }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override
    {
        refuse(path_, fmt::format("the header is not JSON: {}", error.what()));
    }

private:
    [[noreturn]] void unexpected(const std::string& found) const
    {
        if (depth_ == 0)
            refuse(path_, fmt::format("the header is {}, wanted an object", found));
        if (in_metadata_)
            refuse(path_, fmt::format("__metadata__ holds {}, wanted an object of strings", found));
        if (depth_ == 1)
            refuse(path_, fmt::format("tensor {} is {}, wanted an object", shown(top_key_), found));
        refuse(path_, fmt::format("tensor {}: {} holds {}, wanted {}", shown(top_key_), field_, found,
                                  field_ == "dtype" ? "a string" : "a list of whole numbers, none negative"));
    }

    const std::filesystem::path& path_;
    std::set<std::string> names_, metadata_keys_;
    std::string top_key_, field_;
    int depth_ = 0;
    bool in_metadata_ = false, in_list_ = false;
};

std::uint64_t read_header_length(const std::filesystem::path& path, const MappedFile& file)
{
    std::uint64_t length = 0;
    if (file.size() < sizeof length)
        refuse(path,
               fmt::format("{} bytes, wanted at least 8: not a safetensors file, or cut short", file.size()));
    std::memcpy(&length, file.data(), sizeof length);
    if (length > max_header_bytes)
        refuse(path, fmt::format("the header claims {} bytes, wanted at most {}: not a safetensors file?",
                                 length, max_header_bytes));
    if (length > file.size() - sizeof length)
        refuse(path, fmt::format("the header claims {} bytes, but only {} follow: the file is cut short",
                                 length, file.size() - sizeof length));
    return length;
}

// Turns a header entry into a TensorInfo, checked by itself: dtype, size without overflow, offsets inside the
// buffer.
TensorInfo check_entry(const std::filesystem::path& path, const HeaderEntry& entry, const std::byte* buffer,
                       std::uint64_t buffer_bytes)
{
    const std::string tensor = "tensor " + shown(entry.name);
    const auto known = std::find_if(dtype_bits.begin(), dtype_bits.end(),
                                    [&](const auto& pair) { return pair.first == entry.dtype; });
    if (known == dtype_bits.end())
        refuse(path, fmt::format("{}: dtype {} is unknown", tensor, shown(entry.dtype)));

    constexpr std::uint64_t max_count = std::uint64_t{1} << 56;  // leaves room for the bits of each number
    std::uint64_t count = 1;
    Shape shape;
    for (const std::uint64_t extent : entry.shape) {
        if (extent > max_count || (extent != 0 && count > max_count / extent))
            refuse(path, fmt::format("{}: shape [{}] is absurd", tensor, fmt::join(entry.shape, ", ")));
        count *= extent;
        shape.push_back(static_cast<std::int64_t>(extent));
    }
    if (entry.offsets.size() != 2)
        refuse(path, fmt::format("{}: data_offsets has {} numbers, wanted 2", tensor, entry.offsets.size()));
    const std::uint64_t begin = entry.offsets[0], end = entry.offsets[1];
    if (begin > end || end > buffer_bytes)
        refuse(path, fmt::format("{}: data_offsets [{}, {}] leave the file, which holds {} bytes of tensors",
                                 tensor, begin, end, buffer_bytes));
    const std::uint64_t bits = count * known->second;
    if (bits % 8 != 0 || end - begin != bits / 8)
        refuse(path, fmt::format("{}: data_offsets span {} bytes, wanted {} for {} [{}]", tensor, end - begin,
                                 (bits + 7) / 8, entry.dtype, fmt::join(entry.shape, ", ")));
    return {entry.name, entry.dtype, shape, static_cast<std::int64_t>(count), buffer + begin, end - begin};
}

}  // namespace

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : path_(std::move(path)), file_(path_)
{
    const std::uint64_t header_bytes = read_header_length(path_, file_);
    const std::string_view header = file_.text().substr(8, header_bytes);
    if (header.empty() || header.front() != '{')
        refuse(path_, "the header does not begin with '{': not a safetensors file");
    HeaderReader reader(path_);
    nlohmann::json::sax_parse(header.begin(), header.end(), &reader);

    const std::byte* buffer = file_.data() + 8 + header_bytes;
    const std::uint64_t buffer_bytes = file_.size() - 8 - header_bytes;
    for (const HeaderEntry& entry : reader.entries)
        tensors_.push_back(check_entry(path_, entry, buffer, buffer_bytes));
    std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
        return std::pair(a.data, a.bytes) < std::pair(b.data, b.bytes);
    });

    std::uint64_t filled = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
        const std::uint64_t begin = static_cast<std::uint64_t>(tensors_[i].data - buffer);
        if (begin < filled)
            refuse(path_, fmt::format("tensors {} and {} overlap at byte {} of the data",
                                      shown(tensors_[i - 1].name), shown(tensors_[i].name), begin));
        if (begin > filled)
            refuse(path_, fmt::format("a hole of {} bytes before tensor {}, wanted none", begin - filled,
                                      shown(tensors_[i].name)));
        filled = begin + tensors_[i].bytes;
        index_[tensors_[i].name] = i;
    }
    if (filled != buffer_bytes)
        refuse(path_, fmt::format("{} bytes after the last tensor, wanted none", buffer_bytes - filled));
}

std::vector<std::string> SafetensorsFile::names() const
{
    std::vector<std::string> names;
    for (const TensorInfo& info : tensors_)
        names.push_back(info.name);
    return names;
}

const TensorInfo* SafetensorsFile::find(const std::string& name) const
{
    const auto found = index_.find(name);
    return found == index_.end() ? nullptr : &tensors_[found->second];
}

namespace {

// Shard names are file names inside the folder, never paths.
bool is_plain_file_name(const std::string& name)
{
    return !name.empty() && name != "." && name != ".." &&
           name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos;
}

// weight_map, turned round: the tensors that each shard should hold.
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path)
{
    const nlohmann::json index = read_json_object(path);
    const auto map = index.find("weight_map");
    if (map == index.end() || !map->is_object() || map->empty())
        refuse(path, fmt::format("weight_map is {}, wanted an object: tensor name to file name",
                                 map == index.end() ? "missing"
                                 : map->empty()     ? "empty"
                                                    : brief_json(*map)));
    std::map<std::string, std::vector<std::string>> tensors_of_shard;
    for (const auto& [tensor, shard] : map->items()) {
        if (!shard.is_string() || !is_plain_file_name(shard.get_ref<const std::string&>()))
            refuse(path,
                   fmt::format("tensor {}: the shard is {}, wanted the name of a file in the same folder",
                               shown(tensor), brief_json(shard)));
        tensors_of_shard[shard.get<std::string>()].push_back(tensor);
    }
    return tensors_of_shard;
}

}  // namespace

std::vector<std::shared_ptr<const SafetensorsFile>> open_checkpoint(const std::filesystem::path& folder)
{
    const std::filesystem::path single = folder / "model.safetensors";
    const std::filesystem::path index = folder / "model.safetensors.index.json";
    if (std::filesystem::exists(single))
        return {std::make_shared<SafetensorsFile>(single)};
    if (!std::filesystem::exists(index))
        refuse(folder, "neither model.safetensors nor model.safetensors.index.json is there");

    std::vector<std::shared_ptr<const SafetensorsFile>> files;
    std::unordered_map<std::string, std::string> shard_of_tensor;
    for (const auto& [shard, promised] : read_index(index)) {
        if (!std::filesystem::exists(folder / shard))
            refuse(index, fmt::format("shard {} is missing from the folder ({} tensors should be in it)",
                                      shown(shard), promised.size()));
        files.push_back(std::make_shared<SafetensorsFile>(folder / shard));
        for (const std::string& tensor : promised)
            if (files.back()->find(tensor) == nullptr)
                refuse(index, fmt::format("tensor {} should be in shard {}, which lacks it", shown(tensor),
                                          shown(shard)));
        for (const TensorInfo& info : files.back()->tensors()) {
            const auto [other, is_new] = shard_of_tensor.emplace(info.name, shard);
            if (!is_new)
                refuse(index, fmt::format("tensor {} stands in shards {} and {}, wanted one",
                                          shown(info.name), shown(other->second), shown(shard)));
        }
    }
    return files;
}

bool parse_dtype(const std::string& text, DType& dtype)
{
    if (text != "F32" && text != "BF16" && text != "F16")
        return false;
    dtype = text == "F32" ? DType::f32 : text == "BF16" ? DType::bf16 : DType::f16;
    return true;
}

bool shape_matches(const Shape& shape, const Shape& wanted)
{
    return std::equal(shape.begin(), shape.end(), wanted.begin(), wanted.end(),
                      [](std::int64_t extent, std::int64_t want) { return want < 0 || extent == want; });
}

bool is_aligned(const TensorInfo& info)
{
    const std::uintptr_t number_bytes = info.dtype == "F32" ? sizeof(float) : sizeof(std::uint16_t);
    return reinterpret_cast<std::uintptr_t>(info.data) % number_bytes == 0;
}

std::vector<float> aligned_copy(const TensorInfo& info)
{
    std::vector<float> copy((info.bytes + sizeof(float) - 1) / sizeof(float));
    if (info.bytes > 0)
        std::memcpy(copy.data(), info.data, info.bytes);
    return copy;
}

}  // namespace pictor
