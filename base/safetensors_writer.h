// Writes tensors into a .safetensors file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "base/shape.h"

namespace pictor {

// A tensor to be written: F32 or I64 by what `values` points at.
struct OutputTensor {
    std::string name;
    Shape shape;
    std::variant<const float*, const std::int64_t*> values;
};

// Writes a file of these tensors beside `path` under a temporary name, then renames it, so that `path` is
// never half a file. Throws std::runtime_error when a name appears twice, when `path` is something else than
// a regular file, or when writing fails; the temporary file is then removed.
void write_safetensors(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors);

}  // namespace pictor
