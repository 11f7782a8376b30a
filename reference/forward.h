// `reference forward`: exact tensors in, for comparisons with other implementations.
#pragma once

#include "reference/generate.h"
#include "reference/options.h"

namespace pictor {

// The inputs in a safetensors file: input_ids; optionally pixel_values, aspect_ratio_ids, aspect_ratio_mask
// and cross_attention_mask. Throws std::runtime_error naming the file, the tensor and what is wrong with it.
GenerateInputs read_forward_inputs(const std::filesystem::path& path, const ModelConfig& config);

// The command: prints the generated ids as JSON and returns 0.
int forward(const Options& options);

}  // namespace pictor
