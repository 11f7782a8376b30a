// .npy folders and traces as sources; safetensors_source.cpp and debugger_source.cpp hold the other two.
#include "trace/converting/tensor_source.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/npy.h"

namespace fs = std::filesystem;

namespace pictor {
namespace {

constexpr std::int64_t block_size = 1 << 14;

// Pulls blocks from anything with read(Number*, count) and hands them on.
template <typename Number, typename Reader, typename Sink> void pump(Reader& reader, const Sink& sink)
{
    std::vector<Number> block(static_cast<std::size_t>(block_size));
    while (const std::int64_t count = reader.read(block.data(), block_size))
        sink(block.data(), count);
}

class NpyFolder : public TensorSource {
public:
    explicit NpyFolder(const fs::path& folder) : folder_(folder)
    {
        std::vector<fs::path> files;
        for (const fs::directory_entry& file : fs::directory_iterator(folder))
            if (file.path().extension() == ".npy")
                files.push_back(file.path());
        if (files.empty())
            throw std::runtime_error(
                fmt::format("{}: holds no .npy files (and no trace.json)", folder.string()));
        std::sort(files.begin(), files.end());  // a folder has no order of its own
        for (const fs::path& file : files) {
            const NpyFile npy(file);
            SourceTensor tensor;
            split_step(file.stem().string(), tensor);
            tensor.shape = npy.shape();
            tensor.dtype = npy.dtype();
            tensors_.push_back(tensor);
            files_.push_back(file);
        }
    }
    void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) override
    {
        NpyFile npy(at(files_, &tensor - tensors_.data()));
        if (tensor.dtype == "I64")
            pump<std::int64_t>(npy, integers);
        else
            pump<float>(npy, floats);
    }

private:
    fs::path folder_;
    std::vector<fs::path> files_;
};

class TraceSource : public TensorSource {
public:
    explicit TraceSource(const fs::path& folder) : trace_(folder)
    {
        std::int64_t partial = 0;
        for (const TraceEntry& entry : trace_.entries()) {
            if (!entry.whole()) {
                ++partial;
                continue;
            }
            SourceTensor tensor;
            tensor.name = entry.name;
            tensor.step = entry.step;
            tensor.axes = entry.axes;
            tensor.shape = entry.shape;
            tensor.dtype = entry.dtype;
            tensors_.push_back(tensor);
        }
        if (partial > 0)
            notes_.push_back(fmt::format(
                "left out {} tensors of which the trace keeps a sample or only statistics", partial));
    }
    void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) override
    {
        const TraceEntry& entry = *trace_.find(tensor.name, tensor.step);
        if (entry.values != TraceValues::all) {
            NpyFile npy(trace_.folder() / entry.npy);
            if (npy.shape() != entry.shape)
                throw std::runtime_error(fmt::format("{}: shape of {} is {}; trace.json says {}",
                                                     trace_.folder().string(), entry.npy,
                                                     shape_text(npy.shape()), shape_text(entry.shape)));
            hand_on(npy, tensor, floats, integers);
        } else {
            ValueStream stream = trace_.stream(entry);
            hand_on(stream, tensor, floats, integers);
        }
    }

private:
    template <typename Reader> static void hand_on(Reader& reader, const SourceTensor& tensor,
                                                   const Floats& floats, const Integers& integers)
    {
        if (tensor.dtype == "I64")
            pump<std::int64_t>(reader, integers);
        else
            pump<float>(reader, floats);
    }

    Trace trace_;
};

}  // namespace

std::unique_ptr<TensorSource> open_npy_folder(const fs::path& folder)
{
    return std::make_unique<NpyFolder>(folder);
}
std::unique_ptr<TensorSource> open_trace_source(const fs::path& folder)
{
    return std::make_unique<TraceSource>(folder);
}

void split_step(const std::string& stem, SourceTensor& tensor)
{
    const std::size_t dash = stem.find('-');
    const bool numbered = dash != std::string::npos && dash >= 3 && dash <= 9 &&
                          std::all_of(stem.begin(), stem.begin() + static_cast<std::ptrdiff_t>(dash),
                                      [](char c) { return c >= '0' && c <= '9'; });
    tensor.step = numbered ? std::stoll(stem.substr(0, dash)) : 0;
    tensor.name = numbered ? stem.substr(dash + 1) : stem;
}

std::string join_step(const SourceTensor& tensor, bool several_steps)
{
    return several_steps ? fmt::format("{:03}-{}", tensor.step, tensor.name) : tensor.name;
}

}  // namespace pictor
