#include "reference/run_trace.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace pictor {

void describe_run(TraceWriter& writer, const Model& model, const nlohmann::json& prompt,
                  const nlohmann::json& images)
{
    writer.describe("producer", "pictor");
    writer.describe("reference", rule_name(model.rule));
    writer.describe("model", describe_config(model.config));
    writer.describe("prompt", prompt);
    writer.describe("images", images);
}

void finish_trace(TraceWriter& writer, const TraceOptions& options)
{
    writer.finish();
    for (const std::string& glob : writer.unmatched())
        fmt::print(stderr, "reference: --trace-only '{}' matched no tensor; trace show {} lists names\n",
                   glob, options.folder.string());
    fmt::print(stderr, "trace: {}\n", options.folder.string());
}

}  // namespace pictor
