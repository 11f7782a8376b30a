// What a trace says of the run as a whole, beside its tensors.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "reference/model.h"
#include "trace/recording/recorder.h"

namespace pictor {

// The fields that are known before the first step. prompt, images: as trace/README.md describes them.
void describe_run(TraceWriter& writer, const Model& model, const nlohmann::json& prompt,
                  const nlohmann::json& images);

// Completes the trace, says on stderr where it is, and warns of globs of --trace-only that matched nothing.
void finish_trace(TraceWriter& writer, const TraceOptions& options);

}  // namespace pictor
