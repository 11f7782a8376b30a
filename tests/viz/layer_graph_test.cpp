// The graph of a layer shows what its trace says, and marks what is odd.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "viz/graphs/layer_graph.h"

using namespace pictor;
using pictor::testing::TemporaryFolder;

namespace {

// A cross layer in which every tensor is there; `change` may spoil one.
std::filesystem::path write_layer(const std::filesystem::path& folder,
                                  const std::function<void(const std::string&, std::vector<float>&)>& change)
{
    TraceOptions options;
    options.folder = folder;
    options.values = TraceValues::all;
    TraceWriter writer(options);
    writer.describe("prompt", {{"text", "a"}, {"token_ids", {1, 2}}, {"token_texts", {"a", "b"}}});
    writer.begin_step("prefill", 0, 2);
    const auto put = [&](const std::string& name, const std::string& axes,
                         const std::vector<std::int64_t>& shape, float scale) {
        std::int64_t size = 1;
        for (const std::int64_t extent : shape)
            size *= extent;
        std::vector<float> values;
        for (std::int64_t i = 0; i < size; ++i)
            values.push_back(scale * std::sin(static_cast<float>(i + 1)));
        change(name, values);
        writer.recorder()(name, axes, {values.data(), shape});
    };
    put("language_model.layers.0", "token channel", {2, 4}, 1);
    put("multi_modal_projector", "image tile patch channel", {1, 1, 5, 4}, 1);
    const std::string layer = "language_model.layers.1";
    put(layer + ".input_layernorm", "token channel", {2, 4}, 1);
    for (const char* leaf : {"q_proj", "q_norm"})
        put(layer + ".cross_attn." + leaf, "token head channel", {2, 2, 2}, 1);
    for (const char* leaf : {"k_proj", "k_norm", "v_proj"})
        put(layer + ".cross_attn." + leaf, "key kv_head channel", {5, 1, 2}, 1);
    for (const char* leaf : {"scores", "masked_scores", "probs"})
        put(layer + ".cross_attn." + leaf, "head token key", {2, 2, 5}, 1);
    put(layer + ".cross_attn.context", "token head channel", {2, 2, 2}, 1);
    put(layer + ".cross_attn.o_proj", "token channel", {2, 4}, 1);
    put(layer + ".cross_attn.gated", "token channel", {2, 4}, 0.25f);
    put(layer + ".residual", "token channel", {2, 4}, 1);
    put(layer + ".post_attention_layernorm", "token channel", {2, 4}, 1);
    for (const char* leaf : {"gate_proj", "up_proj", "act_fn", "gated"})
        put(layer + ".mlp." + leaf, "token channel", {2, 6}, 1);
    put(layer + ".mlp", "token channel", {2, 4}, 1);
    put(layer + ".mlp.gated_output", "token channel", {2, 4}, -0.5f);
    put(layer, "token channel", {2, 4}, 1);
    writer.finish();
    return folder;
}

std::string all_lines(const Graph& graph)
{
    std::string text = graph.attributes;
    for (const GraphNode& node : graph.nodes)
        for (const LabelLine& line : node.lines)
            text += line.text + "\n";
    return text;
}

Graph graph_of(const std::filesystem::path& folder, const std::string& layer)
{
    const Trace trace(folder);
    return layer_graph(trace, choose_layer_graph(trace, layer), 0, "a.svg");
}

}  // namespace

TEST_CASE("a cross layer's graph has every operation, its gates' values and both residual paths",
          "[layer_graph]")
{
    const TemporaryFolder temporary("layer");
    const auto folder = write_layer(temporary.path / "run", [](const std::string&, std::vector<float>&) {});
    const Graph graph = graph_of(folder, "1");
    CHECK(graph.nodes.size() == 23);
    const std::string lines = all_lines(graph);
    CHECK_THAT(lines, ContainsSubstring("tanh(gate) = 0.2500"));
    CHECK_THAT(lines, ContainsSubstring("tanh(gate) = -0.5000"));
    CHECK_THAT(lines, ContainsSubstring("head \xC3\x97 token \xC3\x97 key [2, 2, 5]"));
    CHECK_THAT(lines, !ContainsSubstring("\xE2\x9A\xA0"));
    CHECK(std::count_if(graph.edges.begin(), graph.edges.end(),
                        [](const GraphEdge& edge) { return edge.kind == "residual"; }) == 2);
    CHECK(std::any_of(graph.edges.begin(), graph.edges.end(), [](const GraphEdge& edge) {
        return edge.label == "key\xC2\xB7kv_head\xC2\xB7"
                             "channel";
    }));
    const Trace trace(folder);
    CHECK_THAT(layer_drawing(trace, choose_layer_graph(trace, "text.1"), 0, "a.svg"),
               ContainsSubstring("</svg>") && ContainsSubstring("Text layer 1, cross-attention"));
    CHECK(layers_in(trace) == std::vector<std::string>{"0", "1"});
}

TEST_CASE("odd tensors are marked", "[layer_graph]")
{
    const TemporaryFolder temporary("layer-odd");
    int count = 0;
    const auto spoiled = [&](const std::string& which,
                             const std::function<void(std::vector<float>&)>& change) {
        const auto folder = write_layer(temporary.path / std::to_string(count++),
                                        [&](const std::string& name, std::vector<float>& values) {
                                            if (name == "language_model.layers.1." + which)
                                                change(values);
                                        });
        return all_lines(graph_of(folder, "1"));
    };
    CHECK_THAT(spoiled("cross_attn.o_proj",
                       [](std::vector<float>& v) { v[1] = std::numeric_limits<float>::quiet_NaN(); }),
               ContainsSubstring("1 NaN or infinite"));
    CHECK_THAT(spoiled("mlp.act_fn", [](std::vector<float>& v) { std::fill(v.begin(), v.end(), 0.0f); }),
               ContainsSubstring("all zero"));
    CHECK_THAT(spoiled("mlp.up_proj", [](std::vector<float>& v) { v[0] = 1e4f; }),
               ContainsSubstring("range over 100 times"));
    // A mask's lowest float is no oddity.
    CHECK_THAT(spoiled("cross_attn.masked_scores", [](std::vector<float>& v) { v[0] = -3.4028235e38f; }),
               !ContainsSubstring("\xE2\x9A\xA0") && !ContainsSubstring("e+38") &&
                   ContainsSubstring("the rest is masked"));
}

TEST_CASE("a slide of a layer is landscape and says how each tensor is made, its axes once", "[layer_graph]")
{
    const TemporaryFolder temporary("layer-slide");
    const auto folder = write_layer(temporary.path / "run", [](const std::string&, std::vector<float>&) {});
    const Trace trace(folder);
    const LayerChoice layer = choose_layer_graph(trace, "1");
    const Graph graph = layer_graph(trace, layer, 0, "a.svg", DiagramStyle::slide);
    CHECK_THAT(all_lines(graph),
               ContainsSubstring("q \xC2\xB7 k / ") && ContainsSubstring("tanh(gate) = 0.2500"));
    for (const GraphEdge& edge : graph.edges)
        CHECK((edge.label.empty() || edge.label == "residual"));
    const SvgSize size = svg_size(layer_drawing(trace, layer, 0, "a.svg", DiagramStyle::slide));
    CHECK(size.width > 1.3 * size.height);
}

TEST_CASE("layers that are not there are refused with those that are", "[layer_graph]")
{
    const TemporaryFolder temporary("layer-choice");
    const auto folder = write_layer(temporary.path / "run", [](const std::string&, std::vector<float>&) {});
    const Trace trace(folder);
    CHECK_THROWS_WITH(choose_layer_graph(trace, "7"), ContainsSubstring("0, 1"));
    CHECK_THROWS_WITH(choose_layer_graph(trace, "vision.0"), ContainsSubstring("vision.0"));
    CHECK_THROWS_WITH(choose_layer_graph(trace, "<b>"), ContainsSubstring("vision.N or global.N"));
    CHECK_THROWS_WITH(choose_layer_graph(trace, "99999999999999999999"), ContainsSubstring("would be right"));
    CHECK_THROWS_WITH(layer_drawing(trace, choose_layer_graph(trace, "1"), 4, "a.svg"),
                      ContainsSubstring("steps 0 to 0"));
}

TEST_CASE("every step of the model leads to a chapter, its own or the one that covers its source",
          "[layer_graph]")
{
    for (const char* step :
         {"vision-mlp", "layer-norm", "cross-attention-mask", "kv-cache", "softmax", "resize"})
        CHECK(chapter_link(step, "a.svg").ends_with(".md"));
    CHECK(chapter_link("resize", "a.svg") == chapter_link("tiles", "a.svg"));
    CHECK(chapter_link("vision-mlp", "a.svg") != chapter_link("text-mlp", "a.svg"));
    CHECK(chapter_link("no-such-step", "a.svg").empty());
    for (const auto& entry : std::filesystem::recursive_directory_iterator("reference")) {
        const std::string room = entry.path().parent_path().filename().string();
        if (entry.path().extension() != ".cpp" || (room != "vision" && room != "text"))
            continue;
        std::string step = entry.path().stem().string();
        std::replace(step.begin(), step.end(), '_', '-');
        CAPTURE(room, step);
        CHECK(!(chapter_link(step, "a.svg") + chapter_link(room + "-" + step, "a.svg")).empty());
    }
}
