// The safetensors file format: 8 bytes that say how long the header is, a JSON header, then the tensors'
// bytes.
//
// Files come from strangers, so the header is checked against the file before anything is believed: every
// tensor lies inside the file, has exactly the bytes its shape and dtype ask for, overlaps no other, and
// together they fill the rest of the file without a hole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "base/memory_map.h"
#include "base/shape.h"

namespace pictor {

struct TensorInfo {
    std::string name;
    std::string dtype;                // as in the file: "F32", "BF16", "F16", "I64", ...
    Shape shape;                      // empty for a single number
    std::int64_t count = 0;           // of numbers
    const std::byte* data = nullptr;  // inside the mapped file; may lie at any address, even an odd one
    std::uint64_t bytes = 0;
};

class SafetensorsFile {
public:
    // Maps the file and checks its header. Throws std::runtime_error naming the file, the tensor and the
    // fault.
    explicit SafetensorsFile(std::filesystem::path path);

    const std::filesystem::path& path() const { return path_; }
    std::uint64_t size() const { return file_.size(); }
    const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in the order of their bytes
    std::vector<std::string> names() const;                              // in the same order
    const TensorInfo* find(const std::string& name) const;               // null when there is none
    const std::map<std::string, std::string>& metadata() const { return metadata_; }

private:
    void check_places(const std::byte* buffer, std::uint64_t buffer_bytes);

    std::filesystem::path path_;
    MappedFile file_;
    std::map<std::string, std::string> metadata_;
    std::vector<TensorInfo> tensors_;
    std::unordered_map<std::string, std::size_t> index_;
};

// The files of a checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json lists.
// Throws std::runtime_error for a shard name that leaves the folder, a missing shard, a tensor that the index
// promises and the shard lacks, and a tensor that stands in two shards.
std::vector<std::shared_ptr<const SafetensorsFile>> open_checkpoint(const std::filesystem::path& folder);

// Whether the numbers (F32, BF16 or F16) lie where they may be read as such, and their bytes in memory where
// they may.
bool is_aligned(const TensorInfo& info);
std::vector<float> aligned_copy(const TensorInfo& info);

// Whether the file's dtype is one that a weight may have, and which.
bool parse_dtype(const std::string& text, DType& dtype);

bool shape_matches(const Shape& shape, const Shape& wanted);  // a negative wanted extent matches any

}  // namespace pictor
