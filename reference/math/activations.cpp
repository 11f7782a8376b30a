#include "reference/math/activations.h"

#include <cmath>

namespace pictor {

float silu(float x) { return x / (1.0f + std::exp(-x)); }

// TRAP(exact_gelu): with erf. The approximation with tanh differs by up to 5e-4.
float gelu(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

}  // namespace pictor
