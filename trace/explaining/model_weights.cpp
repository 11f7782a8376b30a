#include "trace/explaining/model_weights.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

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

}  // namespace

ModelWeights::ModelWeights(const fs::path& folder)
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
        files_.push_back(open_safetensors(file));
        const std::vector<SourceTensor>& tensors = files_.back()->tensors();
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            std::string name = common_name(tensors[i].name);
            if (name == "language_model.lm_head.weight")
                name = "lm_head.weight";
            places_[name] = {files_.size() - 1, i};
        }
    }
}

std::shared_ptr<const std::vector<float>> ModelWeights::find(const std::string& module,
                                                             const std::string& what) const
{
    const auto place = places_.find(checkpoint_name(module, what));
    if (place == places_.end())
        return nullptr;
    const std::lock_guard lock(mutex_);  // files have one position
    TensorSource& file = *files_[place->second.file];
    const SourceTensor& tensor = file.tensors()[place->second.tensor];
    if (checked_size(tensor.name, tensor.shape) > most_numbers)
        return nullptr;
    auto values = std::make_shared<std::vector<float>>();
    file.read(
        tensor,
        [&](const float* numbers, std::int64_t count) {
            values->insert(values->end(), numbers, numbers + count);
        },
        [](const std::int64_t*, std::int64_t) {});
    return values;
}

}  // namespace pictor
