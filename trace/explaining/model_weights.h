// The weights of a checkpoint (`--model DIR`): with them the steps that need weights can be computed again
// too.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/safetensors.h"

namespace pictor {

class ModelWeights {
public:
    // A tensor of more numbers than `largest` is not read whole.
    explicit ModelWeights(const std::filesystem::path& folder, std::int64_t largest = 6 << 20);  // throws

    const std::filesystem::path& folder() const { return folder_; }
    // By the trace's name of the module, such as "language_model.layers.0.self_attn.q_proj", and "weight" or
    // "bias". nullptr: the checkpoint has none, or it is larger than memory should hold.
    std::shared_ptr<const std::vector<float>> find(const std::string& module, const std::string& what) const;
    // Row `row` of a tensor [rows][...]; empty: no such tensor, or no such row.
    std::vector<float> row(const std::string& module, const std::string& what, std::int64_t row) const;
    // Empty: no such tensor.
    std::vector<std::int64_t> shape(const std::string& module, const std::string& what) const;

private:
    const TensorInfo* info(const std::string& module, const std::string& what) const;

    std::filesystem::path folder_;
    std::int64_t largest_;
    std::vector<std::shared_ptr<const SafetensorsFile>> files_;
    std::map<std::string, const TensorInfo*> tensors_;  // by the name without "model." prefixes
};

}  // namespace pictor
