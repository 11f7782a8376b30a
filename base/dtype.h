// The dtypes that a weight may have in a file.
#pragma once

namespace pictor {

enum class DType { f32, bf16, f16 };

}  // namespace pictor
