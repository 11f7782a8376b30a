// Writes tensors into a .safetensors file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/output_file.h"
#include "base/shape.h"

namespace pictor {

struct TensorHead {
    std::string name;
    bool whole = false;  // I64; else F32
    Shape shape;
    bool bf16 = false;  // BF16 instead of F32
};

// A file of tensors whose numbers come a block at a time, in the order of their heads.
class SafetensorsWriter {
public:
    // Throws std::runtime_error when a name appears twice, and as OutputFile does.
    SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorHead>& heads,
                      const std::map<std::string, std::string>& metadata, Overwrite overwrite);
    void append(const float* values, std::int64_t count);
    void append(const std::int64_t* values, std::int64_t count);
    void append(const std::uint16_t* bf16, std::int64_t count);  // bit patterns
    void finish();  // throws when there were more or fewer numbers than the heads say

private:
    std::filesystem::path path_;
    OutputFile file_;
    std::uint64_t bytes_left_ = 0;
};

// A tensor to be written: F32 or I64 by what `values` points at.
struct OutputTensor {
    std::string name;
    Shape shape;
    std::variant<const float*, const std::int64_t*> values;
};

// A file of these tensors.
void write_safetensors(const std::filesystem::path& path, const std::vector<OutputTensor>& tensors,
                       Overwrite overwrite = Overwrite::same_kind);

}  // namespace pictor
