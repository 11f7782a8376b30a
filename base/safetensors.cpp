#include "base/safetensors.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "base/little_endian.h"
#include "base/shown_text.h"

namespace pictor {
namespace {

using nlohmann::json;
using Path = std::filesystem::path;

constexpr std::uint64_t max_header_bytes = 100'000'000;  // the format's own limit
constexpr std::size_t max_tensors = 250'000;             // the 90B model has 1,500; a long trace has more
constexpr std::size_t max_metadata = 500'000;
constexpr int max_axes = 32;

// Bits of one number. Only some are ever read; the others may stand in a file beside them.
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 21> dtype_bits{{
    {"F32", 32},    {"BF16", 16},   {"F16", 16},    {"I64", 64},    {"F64", 64},        {"U64", 64},
    {"I32", 32},    {"U32", 32},    {"I16", 16},    {"U16", 16},    {"I8", 8},          {"U8", 8},
    {"BOOL", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"C64", 64},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
}};

[[noreturn]] void refuse(const Path& path, const std::string& what)
{
    throw std::runtime_error(fmt::format("{}: {}", path.string(), what));
}

// Names come from the file: an error message shows at most this much of one.
std::string shown(const std::string& name) { return brief_json(json(name)); }

// Takes one entry after another out of the header while it is parsed: as a whole, it would take many times
// its bytes, and the last of two equal names would win without a word.
class HeaderReader {
public:
    // take: gets the name and the JSON of each tensor.
    using Take = std::function<void(const std::string&, const json&)>;
    HeaderReader(const Path& path, std::map<std::string, std::string>& metadata, Take take)
        : path_(path), metadata_(metadata), take_(std::move(take))
    {
    }

    // Called by the parser. depth 0: the header; 1: its entries; 2: their fields; 3: numbers of a list.
    bool operator()(int depth, json::parse_event_t event, json& parsed)
    {
        using Event = json::parse_event_t;
        const bool opens_list = event == Event::array_start;
        if (event == Event::key)
            depth == 1 ? begin_entry(parsed.get<std::string>()) : begin_field(parsed.get<std::string>());
        else if (opens_list || event == Event::object_start)
            check_opening(depth, opens_list ? "a list" : "an object", opens_list);
        else if (event == Event::value && depth == 1)
            unexpected(brief_json(parsed));
        else if (event == Event::value && in_metadata_)
            return take_metadata(parsed);
        else if (event == Event::value && depth == 3 && ++numbers_ > max_axes)
            refuse(path_,
                   fmt::format("tensor {}: {} has more than {} numbers", shown(entry_), field_, max_axes));
        else if (event == Event::object_end && depth == 1) {
            if (!in_metadata_)
                take_(entry_, parsed);
            return false;  // the tree of the whole header stays empty
        }
        return true;
    }

private:
    void begin_entry(const std::string& name)
    {
        if (!names_.insert(name).second)
            refuse(path_, fmt::format("tensor {} appears twice in the header", shown(name)));
        if (names_.size() > max_tensors)
            refuse(path_, fmt::format("the header lists more than {} tensors", max_tensors));
        entry_ = name;
        in_metadata_ = name == "__metadata__";
        fields_.clear();
    }
    void begin_field(const std::string& name)
    {
        const std::string where = in_metadata_ ? "__metadata__" : "tensor " + shown(entry_);
        if (!in_metadata_ && name != "dtype" && name != "shape" && name != "data_offsets")
            refuse(path_, fmt::format("{}: field {} is unknown, wanted dtype, shape and data_offsets", where,
                                      shown(name)));
        if (!fields_.insert(name).second)
            refuse(path_, fmt::format("{}: {} appears twice", where, in_metadata_ ? shown(name) : name));
        if (fields_.size() > max_metadata)
            refuse(path_, fmt::format("__metadata__ holds more than {} strings", max_metadata));
        field_ = name;
        numbers_ = 0;
    }
    void check_opening(int depth, const std::string& found, bool list) const
    {
        const bool right = depth == 0 || (depth == 1 && !list) || (depth == 2 && list && !in_metadata_);
        if (!right)
            unexpected(found);
    }
    bool take_metadata(const json& value)
    {
        if (!value.is_string())
            unexpected(brief_json(value));
        metadata_[field_] = value.get<std::string>();
        return false;
    }
    [[noreturn]] void unexpected(const std::string& found) const
    {
        if (in_metadata_)
            refuse(path_, fmt::format("__metadata__ holds {}, wanted an object of strings", found));
        if (fields_.empty())
            refuse(path_, fmt::format("tensor {} is {}, wanted an object", shown(entry_), found));
        refuse(path_, fmt::format("tensor {}: {} holds {}, wanted {}", shown(entry_), field_, found,
                                  field_ == "dtype" ? "a string" : "a list of whole numbers, none negative"));
    }

    const Path& path_;
    std::map<std::string, std::string>& metadata_;
    Take take_;
    std::unordered_set<std::string> names_, fields_;
    std::string entry_, field_;
    int numbers_ = 0;
    bool in_metadata_ = false;
};

std::uint64_t read_header_length(const Path& path, const MappedFile& file)
{
    if (file.size() < sizeof(std::uint64_t))
        refuse(path,
               fmt::format("{} bytes, wanted at least 8: not a safetensors file, or cut short", file.size()));
    const auto length = number_at<std::uint64_t>(file.data());
    if (length > max_header_bytes)
        refuse(path, fmt::format("the header claims {} bytes, wanted at most {}: not a safetensors file?",
                                 length, max_header_bytes));
    if (length > file.size() - sizeof length)
        refuse(path, fmt::format("the header claims {} bytes, but only {} follow: the file is cut short",
                                 length, file.size() - sizeof length));
    return length;
}

// The numbers of "shape" or "data_offsets"; none when it is missing.
std::vector<std::uint64_t> whole_numbers(const Path& path, const std::string& tensor, const json& entry,
                                         const char* field)
{
    const auto refuse_list = [&](const json& found) {
        refuse(path, fmt::format("{}: {} holds {}, wanted a list of whole numbers, none negative", tensor,
                                 field, brief_json(found)));
    };
    if (!entry.contains(field))
        return {};
    if (!entry[field].is_array())
        refuse_list(entry[field]);
    for (const json& number : entry[field])
        if (!number.is_number_unsigned())
            refuse_list(number);
    return entry[field].get<std::vector<std::uint64_t>>();
}

std::uint64_t bits_of_dtype(const Path& path, const std::string& tensor, const json& entry)
{
    const auto dtype = entry.find("dtype");
    if (dtype == entry.end())
        refuse(path, fmt::format("{}: dtype is missing", tensor));
    if (!dtype->is_string())
        refuse(path, fmt::format("{}: dtype holds {}, wanted a string", tensor, brief_json(*dtype)));
    for (const auto& [name, bits] : dtype_bits)
        if (name == dtype->get_ref<const std::string&>())
            return bits;
    refuse(path, fmt::format("{}: dtype {} is unknown", tensor, brief_json(*dtype)));
}

// Turns a header entry into a TensorInfo, checked by itself: dtype, size without overflow, offsets inside the
// buffer.
TensorInfo check_entry(const Path& path, const std::string& name, const json& entry, const std::byte* buffer,
                       std::uint64_t buffer_bytes)
{
    const std::string tensor = "tensor " + shown(name);
    const std::vector<std::uint64_t> extents = whole_numbers(path, tensor, entry, "shape");
    const std::vector<std::uint64_t> offsets = whole_numbers(path, tensor, entry, "data_offsets");
    const std::uint64_t bits_each = bits_of_dtype(path, tensor, entry);
    for (const char* field : {"shape", "data_offsets"})
        if (!entry.contains(field))
            refuse(path, fmt::format("{}: {} is missing", tensor, field));

    constexpr std::uint64_t max_count = std::uint64_t{1} << 56;  // leaves room for the bits of each number
    std::uint64_t count = 1;
    Shape shape;
    for (const std::uint64_t extent : extents) {
        if (extent > max_count || (extent != 0 && count > max_count / extent))
            refuse(path, fmt::format("{}: shape [{}] is absurd", tensor, fmt::join(extents, ", ")));
        count *= extent;
        shape.push_back(static_cast<std::int64_t>(extent));
    }
    if (offsets.size() != 2)
        refuse(path, fmt::format("{}: data_offsets has {} numbers, wanted 2", tensor, offsets.size()));
    const std::uint64_t begin = offsets[0], end = offsets[1];
    if (begin > end || end > buffer_bytes)
        refuse(path, fmt::format("{}: data_offsets [{}, {}] leave the file, which holds {} bytes of tensors",
                                 tensor, begin, end, buffer_bytes));
    const std::uint64_t bits = count * bits_each;
    const std::string dtype = entry["dtype"].get<std::string>();
    if (bits % 8 != 0 || end - begin != bits / 8)
        refuse(path, fmt::format("{}: data_offsets span {} bytes, wanted {} for {} [{}]", tensor, end - begin,
                                 (bits + 7) / 8, dtype, fmt::join(extents, ", ")));
    return {name, dtype, shape, static_cast<std::int64_t>(count), buffer + begin, end - begin};
}

}  // namespace

SafetensorsFile::SafetensorsFile(Path path) : path_(std::move(path)), file_(path_)
{
    const std::uint64_t header_bytes = read_header_length(path_, file_);
    const std::string_view header = file_.text().substr(8, header_bytes);
    if (!header.starts_with('{'))
        refuse(path_, "the header does not begin with '{': not a safetensors file?");
    const std::byte* buffer = file_.data() + 8 + header_bytes;
    const std::uint64_t buffer_bytes = file_.size() - 8 - header_bytes;
    HeaderReader reader(path_, metadata_, [&](const std::string& name, const json& entry) {
        tensors_.push_back(check_entry(path_, name, entry, buffer, buffer_bytes));
    });
    try {
        [[maybe_unused]] const json nothing = json::parse(header.begin(), header.end(), std::ref(reader));
    } catch (const json::exception& error) {
        refuse(path_, fmt::format("the header is not JSON: {}", terminal_text(error.what())));
    }
    check_places(buffer, buffer_bytes);
}

// Sorts the tensors by their bytes, which must fill the file without a hole.
void SafetensorsFile::check_places(const std::byte* buffer, std::uint64_t buffer_bytes)
{
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
std::map<std::string, std::vector<std::string>> read_index(const Path& path)
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

std::vector<std::shared_ptr<const SafetensorsFile>> open_checkpoint(const Path& folder)
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
