// The folder that a trace is written into.
#pragma once

#include <filesystem>

#include "base/output_folder.h"

namespace pictor {

// What OutputFolder wants to know: trace.json, and tensors/000-NAME.json and .npy.
FolderKind trace_folder_kind();

}  // namespace pictor
