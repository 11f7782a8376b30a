#include "trace/explaining/model_weights.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "base/stored_numbers.h"

namespace fs = std::filesystem;

namespace pictor {
namespace {

// Two naming schemes, "language_model.model.layers" and "model.language_model.layers": without "model" they
// are one.
std::string common_name(const std::string& name)
{
    std::string result;
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = std::min(name.find('.', at), name.size());
        const std::string part = name.substr(at, end - at);
        if (part != "model")
            result += (result.empty() ? "" : ".") + part;
        at = end + 1;
    }
    return result;
}

// The trace gives a module whose output is its last inner module's the outer name.
std::string checkpoint_name(const std::string& module, const std::string& what)
{
    if (module == "lm_head")
        return "lm_head." + what;
    if (module.ends_with(".mlp"))
        return module + (module.rfind("vision_model", 0) == 0 ? ".fc2." : ".down_proj.") + what;
    return module + "." + what;
}

// Numbers of a tensor as float32, wherever its bytes lie.
std::vector<float> widened(const TensorInfo& tensor, std::int64_t first, std::int64_t count)
{
    DType dtype = DType::f32;
    parse_dtype(tensor.dtype, dtype);
    std::vector<float> values(static_cast<std::size_t>(count));
    widen(dtype, tensor.data + first * (dtype == DType::f32 ? 4 : 2), count, values.data());
    return values;
}

}  // namespace

ModelWeights::ModelWeights(const fs::path& folder, std::int64_t largest) : folder_(folder), largest_(largest)
{
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored))
        throw std::runtime_error(
            fmt::format("{}: no such folder; --model wants the folder of a checkpoint", folder.string()));
    std::vector<fs::path> files;
    for (const fs::directory_entry& file : fs::directory_iterator(folder))
        if (file.path().extension() == ".safetensors")
            files.push_back(file.path());
    if (files.empty())
        throw std::runtime_error(fmt::format(
            "{}: holds no .safetensors file; --model wants the folder of a checkpoint", folder.string()));
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
        files_.push_back(std::make_shared<const SafetensorsFile>(file));
        for (const TensorInfo& tensor : files_.back()->tensors()) {
            std::string name = common_name(tensor.name);
            if (name == "language_model.lm_head.weight")
                name = "lm_head.weight";
            tensors_[name] = &tensor;
        }
    }
}

const TensorInfo* ModelWeights::info(const std::string& module, const std::string& what) const
{
    const auto found = tensors_.find(checkpoint_name(module, what));
    DType dtype;
    return found != tensors_.end() && parse_dtype(found->second->dtype, dtype) ? found->second : nullptr;
}

std::shared_ptr<const std::vector<float>> ModelWeights::find(const std::string& module,
                                                             const std::string& what) const
{
    const TensorInfo* const tensor = info(module, what);
    if (!tensor || tensor->count > largest_)
        return nullptr;
    return std::make_shared<std::vector<float>>(widened(*tensor, 0, tensor->count));
}

std::vector<float> ModelWeights::row(const std::string& module, const std::string& what,
                                     std::int64_t row) const
{
    const TensorInfo* const tensor = info(module, what);
    if (!tensor || tensor->shape.empty() || row < 0 || row >= tensor->shape[0])
        return {};
    const std::int64_t width = tensor->count / tensor->shape[0];
    return width > largest_ ? std::vector<float>{} : widened(*tensor, row * width, width);
}

std::vector<std::int64_t> ModelWeights::shape(const std::string& module, const std::string& what) const
{
    const TensorInfo* const tensor = info(module, what);
    return tensor ? std::vector<std::int64_t>(tensor->shape.begin(), tensor->shape.end())
                  : std::vector<std::int64_t>{};
}

}  // namespace pictor
