// The one table of the model's steps, held to what the references' traces hold.
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <fmt/format.h>

#include "tests/catch.h"
#include "trace/explaining/judges.h"
#include "trace/graph/operations.h"
#include "trace/reading/reader.h"

using namespace pictor;

namespace {

GraphSizes sizes_of(const Trace& trace)
{
    GraphSizes sizes;
    const auto& text = trace.header().at("model").at("text");
    const auto& vision = trace.header().at("model").at("vision");
    sizes.cross_layers = text.at("cross_attention_layers").get<std::vector<std::int64_t>>();
    sizes.kept_layers = vision.at("kept_layers").get<std::vector<std::int64_t>>();
    sizes.n_text_layers = text.at("n_layers");
    sizes.n_vision_layers = vision.at("n_layers");
    sizes.n_global_layers = vision.at("n_global_layers");
    return sizes;
}

}  // namespace

TEST_CASE("every tensor of a golden trace is a row of the model's graph, with its axes", "[graph]")
{
    std::set<const Operation*> seen;
    for (const char* folder : {"golden/cases/2x2/meta", "golden/cases/text_only/transformers"}) {
        const Trace trace(folder);
        for (const TraceEntry& entry : trace.entries()) {
            INFO(entry.name);
            const Operation* const row = find_operation(
                entry.name, [&](const std::string& name) { return trace.find(name, entry.step) != nullptr; });
            REQUIRE(row != nullptr);
            CHECK(fmt::format("{}", fmt::join(entry.axes, " ")) == row->axes);
            seen.insert(row);
        }
    }
    CHECK(seen.size() == operations().size());  // and no row is left over
}

TEST_CASE("every input in the graph is computed before the step that it flows into", "[graph]")
{
    const Trace trace("golden/cases/2x2/meta");
    const GraphSizes sizes = sizes_of(trace);
    std::set<std::string> computed;
    std::size_t checked = 0;
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step > 0)
            break;
        const auto has = [&](const std::string& name) { return trace.find(name, 0) != nullptr; };
        for (const NamedInput& input : named_inputs(entry.name, sizes, has)) {
            INFO(entry.name << " from " << input.name);
            CHECK(computed.count(input.name) == 1);
            ++checked;
        }
        computed.insert(entry.name);
    }
    CHECK(checked > 200);
}

TEST_CASE("every step of the graph has a judge, every chapter a number and a name", "[graph]")
{
    for (const Operation& operation : operations()) {
        INFO(operation.name << " in " << operation.where);
        CHECK(judge_of(operation) != nullptr);
        const std::string chapter = operation.chapter;
        CHECK(chapter.size() > 4);
        CHECK(std::isdigit(static_cast<unsigned char>(chapter[0])));
        CHECK(chapter[2] == '-');
    }
    CHECK(judge_of({"mlp.gated", in_vision_local, "", "", "", "", {}}) == nullptr);
}

TEST_CASE("names are taken apart by layer, and what is no layer stays whole", "[graph]")
{
    const NameParts parts = split_name("vision_model.global_transformer.layers.12.mlp.gated");
    CHECK(parts.module == "vision_model.global_transformer.layers.12");
    CHECK(parts.layer == 12);
    CHECK(parts.leaf == "mlp.gated");
    CHECK(parts.vision);
    CHECK(parts.global);
    CHECK(split_name("language_model.layers.3").leaf.empty());
    CHECK(split_name("language_model.layers.3x").module.empty());
    CHECK(split_name("lm_head").module.empty());
    const auto none = [](const std::string&) { return false; };
    CHECK(find_operation("language_model.layers.0.self_attn.sums", none) == nullptr);
    CHECK(find_operation("vision_model.transformer.layers.0.self_attn.gated", none) == nullptr);
}

TEST_CASE("a cross-attention layer that did not run is passed over", "[graph]")
{
    GraphSizes sizes;
    sizes.cross_layers = {1, 2};
    const auto only_layer_0 = [](const std::string& name) { return name == "language_model.layers.0"; };
    CHECK(state_before_text_layer(3, sizes, only_layer_0) == "language_model.layers.0");
    CHECK(state_before_text_layer(0, sizes, only_layer_0) == "language_model.embed_tokens");
}
