// A .safetensors file as a source.
#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/safetensors.h"
#include "base/shown_text.h"
#include "base/stored_numbers.h"
#include "trace/converting/tensor_source.h"

namespace pictor {
namespace {

constexpr std::int64_t block_size = 1 << 14;
constexpr std::size_t most_axes = 16;

// What a trace calls the dtype; empty for those that it has no word for.
std::string trace_dtype(const std::string& stored)
{
    if (stored == "F16" || stored == "BF16")
        return stored;
    return stored_bytes(stored) == 0 ? "" : stored[0] == 'F' ? "F32" : "I64";
}

class SafetensorsSource : public TensorSource {
public:
    explicit SafetensorsSource(const std::filesystem::path& file) : file_(file)
    {
        for (const TensorInfo& info : file_.tensors())
            add(info);
    }
    void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) override;

private:
    void add(const TensorInfo& info);

    SafetensorsFile file_;
};

void SafetensorsSource::add(const TensorInfo& info)
{
    const std::string where = fmt::format("{}: tensor {}", file_.path().string(), in_quotes(info.name));
    SourceTensor tensor;
    split_step(info.name, tensor);
    check_tensor_name(where, tensor.name);
    tensor.shape = info.shape;
    tensor.dtype = trace_dtype(info.dtype);
    if (tensor.dtype.empty())
        throw std::runtime_error(fmt::format(
            "{}: dtype '{}'; want F32, F64, F16, BF16, I64, I32, I8, U8 or BOOL", where, info.dtype));
    if (tensor.shape.size() > most_axes)
        throw std::runtime_error(
            fmt::format("{}: {} axes; want at most {}", where, tensor.shape.size(), most_axes));
    checked_size(where, tensor.shape);
    // Files that `trace convert` wrote keep the words of the axes among the metadata.
    const auto words = file_.metadata().find("axes " + info.name);
    const std::string axes = words == file_.metadata().end() ? "" : words->second;
    for (std::size_t at = 0; at < axes.size();) {
        const std::size_t end = std::min(axes.find(' ', at), axes.size());
        tensor.axes.push_back(axes.substr(at, end - at));
        at = end + 1;
    }
    tensors_.push_back(tensor);
}

void SafetensorsSource::read(const SourceTensor& tensor, const Floats& floats, const Integers& integers)
{
    const TensorInfo& info = at(file_.tensors(), &tensor - tensors_.data());
    std::vector<float> values(static_cast<std::size_t>(block_size));
    std::vector<std::int64_t> whole(static_cast<std::size_t>(block_size));
    for (std::int64_t done = 0; done < info.count; done += block_size) {
        const std::int64_t count = std::min(block_size, info.count - done);
        const std::byte* bytes = info.data + done * stored_bytes(info.dtype);
        if (tensor.dtype == "I64") {
            convert_numbers(info.dtype, bytes, count, whole.data());
            integers(whole.data(), count);
        } else {
            convert_numbers(info.dtype, bytes, count, values.data());
            floats(values.data(), count);
        }
    }
}

}  // namespace

std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& file)
{
    return std::make_unique<SafetensorsSource>(file);
}

}  // namespace pictor
