#include "reference/vision/projector.h"

#include "reference/math/linear.h"

namespace pictor {

Tensor multi_modal_projector(const ProjectorWeights& weights, const Tensor& states)
{
    return linear(states, weights.weight, weights.bias);
}

}  // namespace pictor
