// Divide by the root mean square, multiply by a learned weight: the text side's normalisation.
#pragma once

#include "reference/math/tensor.h"

namespace pictor {

// x [..., d], weight [d] -> the same shape; no mean is subtracted. Follows MllamaTextRMSNorm and Meta's
// RMSNorm.
Tensor rms_norm(const Tensor& x, const Tensor& weight, float eps);

}  // namespace pictor
