// The tiny model as a folder on disk, for the tests of loading and inspecting.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "reference/checkpoint/weights.h"
#include "tests/reference/checkpoint_files.h"

namespace pictor_test {

// A folder with the tiny model's config and these tensors.
struct TinyCheckpoint {
    TempFolder folder;
    pictor::ModelConfig config;

    explicit TinyCheckpoint(const RawTensors& tensors, bool odd = false)
    {
        write_file(folder.path / "config.json", tiny_config().dump());
        write_file(folder.path / "model.safetensors", safetensors_bytes(tensors, odd));
        config = pictor::read_config(folder.path);
    }
    pictor::Weights load() const { return pictor::load_weights(folder.path, config); }
    std::string error() const
    {
        return error_of([&] { load(); });
    }
};

inline std::vector<float> floats_of(const RawTensor& tensor)
{
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
}

}  // namespace pictor_test
