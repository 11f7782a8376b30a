// What the slides say of a step.
#pragma once

#include <string>

namespace pictor {

// How a tensor is made, in the code's names; empty where its title says so. leaf: its name within the layer.
std::string formula(const std::string& leaf, bool vision);

}  // namespace pictor
