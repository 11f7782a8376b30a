#include "reference/checkpoint/load_tensors.h"

#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "base/json_file.h"
#include "reference/math/linear.h"

namespace pictor {

namespace {

std::string shown(const std::string& name) { return brief_json(nlohmann::json(name)); }

const TensorInfo& require_tensor(const SafetensorsFile& file, const std::string& name, const Shape& wanted)
{
    const TensorInfo* info = file.find(name);
    if (info == nullptr)
        throw std::runtime_error(
            file.path().string() + ": " +
            fmt::format("tensor {} is missing, wanted shape {}", shown(name), shape_text(wanted)));
    if (!shape_matches(info->shape, wanted))
        throw std::runtime_error(file.path().string() + ": " +
                                 fmt::format("tensor {} has shape {}, wanted {} (-1: any)", shown(name),
                                             shape_text(info->shape), shape_text(wanted)));
    return *info;
}

}  // namespace

Tensor widen(const TensorInfo& info)
{
    Tensor tensor(info.shape);
    if (info.count == 0)
        return tensor;
    Matrix one_row{info.data, DType::f32, 1, info.count, info.name};
    if (!parse_dtype(info.dtype, one_row.dtype))
        throw std::runtime_error(
            fmt::format("tensor {} has dtype {}, wanted F32, BF16 or F16", shown(info.name), info.dtype));
    std::vector<float> aligned;
    if (!is_aligned(info)) {
        aligned = aligned_copy(info);
        one_row.data = aligned.data();
    }
    one_row.widen_row(0, tensor.data());
    return tensor;
}

Tensor load_floats(const SafetensorsFile& file, const std::string& name, const Shape& wanted)
{
    const TensorInfo& info = require_tensor(file, name, wanted);
    DType dtype{};
    if (!parse_dtype(info.dtype, dtype))
        throw std::runtime_error(
            file.path().string() + ": " +
            fmt::format("tensor {} has dtype {}, wanted F32, BF16 or F16", shown(name), info.dtype));
    return widen(info);
}

std::vector<std::int64_t> load_integers(const SafetensorsFile& file, const std::string& name,
                                        const Shape& wanted)
{
    const TensorInfo& info = require_tensor(file, name, wanted);
    if (info.dtype != "I64")
        throw std::runtime_error(file.path().string() + ": " +
                                 fmt::format("tensor {} has dtype {}, wanted I64", shown(name), info.dtype));
    std::vector<std::int64_t> values(static_cast<std::size_t>(info.count));
    if (info.count > 0)
        std::memcpy(values.data(), info.data, info.bytes);
    return values;
}

}  // namespace pictor
