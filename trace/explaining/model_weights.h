// The weights of a checkpoint (`trace diff --model DIR`): with them the linear steps can be computed again
// too.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "trace/converting/tensor_source.h"

namespace pictor {

class ModelWeights {
public:
    explicit ModelWeights(const std::filesystem::path& folder);  // throws
    // By the trace's name of the module, such as "language_model.layers.0.self_attn.q_proj", and "weight" or
    // "bias". nullptr: the checkpoint has none, or it is larger than memory should hold.
    std::shared_ptr<const std::vector<float>> find(const std::string& module, const std::string& what) const;

private:
    static constexpr std::int64_t most_numbers = 6 << 20;

    struct Place {
        std::size_t file = 0, tensor = 0;
    };
    std::vector<std::unique_ptr<TensorSource>> files_;
    std::map<std::string, Place> places_;  // by the name without "model." prefixes
    mutable std::mutex mutex_;
};

}  // namespace pictor
