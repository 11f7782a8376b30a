// The diagram says what the model is: parameter counts, layers at their places, safe labels, well-formed SVG.
#include <cmath>
#include <fstream>
#include <regex>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/shown_text.h"
#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "viz/drawing/colour_map.h"
#include "viz/drawing/output.h"
#include "viz/drawing/svg.h"
#include "viz/graphs/architecture.h"

using namespace pictor;
using pictor::testing::TemporaryFolder;

namespace {

std::size_t count_of(const std::string& text, const std::string& part)
{
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
        ++count;
    return count;
}

nlohmann::json shipped_config()
{
    std::ifstream stream("models/pictor/config.json");
    return nlohmann::json::parse(stream);
}

// Elements of the shapes in a safetensors header.
std::int64_t elements_in(const std::filesystem::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    std::uint64_t length = 0;
    stream.read(reinterpret_cast<char*>(&length), 8);
    std::string text(length, ' ');
    stream.read(text.data(), static_cast<std::streamsize>(length));
    const nlohmann::json header = nlohmann::json::parse(text);
    std::int64_t sum = 0;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__")
            continue;
        std::int64_t size = 1;
        for (const auto& extent : entry["shape"])
            size *= extent.get<std::int64_t>();
        sum += size;
    }
    return sum;
}

}  // namespace

TEST_CASE("parameter counts equal the shipped checkpoint's and the released model's", "[architecture]")
{
    const ModelSizes pictor = read_model_sizes("models/pictor/config.json", "Pictor");
    CHECK(count_parameters(pictor).total == elements_in("models/pictor/model.safetensors"));
    // What the model card of Llama 3.2-Vision rounds to 10.6B; the exact number is that of its checkpoint.
    CHECK(count_parameters(preset_sizes("11b")).total == 10670220835);
    CHECK(count_text(count_parameters(preset_sizes("90b")).total) == "88.6 B");
    CHECK_THROWS_WITH(preset_sizes("7b"), ContainsSubstring("11b or 90b"));
}

TEST_CASE("layers are folded without losing one", "[architecture]")
{
    for (const bool unfold : {false, true})
        for (const ModelSizes& sizes : {preset_sizes("11b"), preset_sizes("90b"),
                                        read_model_sizes("models/pictor/config.json", "Pictor")}) {
            std::vector<std::int64_t> cross;
            std::int64_t layers = 0;
            for (const auto& group : fold_layers(sizes, unfold))
                for (const LayerRun& run : group)
                    for (std::int64_t copy = 0; copy < run.times; ++copy)
                        for (std::int64_t i = 0; i < run.count; ++i) {
                            ++layers;
                            if (run.is_cross)
                                cross.push_back(run.first + copy * run.stride + i);
                        }
            std::sort(cross.begin(), cross.end());
            CHECK(layers == sizes.n_text_layers);
            CHECK(cross == sizes.cross_layers);
        }
    CHECK(fold_layers(preset_sizes("11b"), false).size() == 4);
    CHECK(fold_layers(preset_sizes("11b"), true).size() == 40);
}

TEST_CASE("diagrams of every style name every step", "[architecture]")
{
    for (const DiagramStyle style : {DiagramStyle::slide, DiagramStyle::article})
        for (const bool unfold : {false, true}) {
            const std::string svg =
                architecture_drawing(read_model_sizes("models/pictor/config.json", "Pictor"),
                                     {style, unfold, "build/architecture.svg"});
            for (const char* step : {"prompt", "tokenizer", "embedding table", "RMSNorm", "LM head", "sample",
                                     "picture", "conv patches", "projector", "cross-attention",
                                     "self-attention", "RoPE", "2.89 M parameters"}) {
                INFO(step);
                CHECK_THAT(svg, ContainsSubstring(step));
            }
            CHECK(count_of(svg, "<svg") == 2);
            CHECK(count_of(svg, "</svg>") == 2);
            CHECK_THAT(svg, ContainsSubstring("../reference/text/cross_attention.cpp"));
            if (unfold)
                CHECK_THAT(svg, ContainsSubstring("vision layer 5") && ContainsSubstring("layer 9"));
        }
    const std::string slide =
        architecture_drawing(preset_sizes("11b"), {DiagramStyle::slide, false, "a.svg"});
    const SvgSize size = svg_size(slide);
    CHECK(size.width / size.height == Approx(16.0 / 9));
}

TEST_CASE("kinds of boxes can be told apart in gray, and their words be read, in both themes",
          "[architecture]")
{
    const auto rgb = [](const std::string& hex) {
        const auto channel = [&](std::size_t at) {
            return static_cast<std::uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16));
        };
        return Rgb{channel(1), channel(3), channel(5)};
    };
    const auto lightness = [&](const std::string& hex) { return perceived_lightness(rgb(hex)); };
    // WCAG 2: 4.5 for text, 3 for lines.
    const auto luminance = [&](const std::string& hex) {
        const Rgb c = rgb(hex);
        const auto linear = [](double v) {
            return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
        };
        return 0.2126 * linear(c.red / 255.0) + 0.7152 * linear(c.green / 255.0) +
               0.0722 * linear(c.blue / 255.0);
    };
    const auto contrast = [&](const std::string& a, const std::string& b) {
        const double x = luminance(a), y = luminance(b);
        return (std::max(x, y) + 0.05) / (std::min(x, y) + 0.05);
    };
    CHECK(contrast("#000000", "#ffffff") == Approx(21));
    for (const KindLook& kind : kind_looks) {
        INFO(kind.name);
        CHECK(contrast(kind.fill, "#1d2230") >= 4.5);
        CHECK(contrast(kind.dark_fill, "#eef1f6") >= 4.5);
        CHECK(contrast(kind.stroke, "#ffffff") >= 3);
        CHECK(contrast(kind.dark_stroke, "#14171d") >= 3);
        for (const KindLook& other : kind_looks) {
            if (&other == &kind || other.border != kind.border)
                continue;  // another border tells them apart
            INFO(other.name);
            CHECK(std::abs(lightness(kind.fill) - lightness(other.fill)) >= 0.06);
            CHECK(std::abs(lightness(kind.dark_fill) - lightness(other.dark_fill)) >= 0.06);
        }
    }
    const std::string svg =
        architecture_drawing(preset_sizes("11b"), {DiagramStyle::article, false, "a.svg"});
    for (const KindLook& kind : kind_looks)
        if (std::string(kind.name) != "odd")
            CHECK_THAT(svg, ContainsSubstring(std::string("fill=\"") + kind.fill));
}

TEST_CASE("names with markup or Graphviz syntax in them draw safely", "[architecture]")
{
    ModelSizes sizes = preset_sizes("11b");
    for (const char* name : {"<script>alert(1)</script>", "a\"];b[label=\"x", "]]>&amp;<!--", "\\N\\G",
                             "\xF0\x9F\x98\x80 \xFF\x01"}) {
        sizes.name = name;
        const std::string svg = architecture_drawing(sizes, {DiagramStyle::article, false, "a.svg"});
        CHECK_THAT(svg, !ContainsSubstring("<script"));
        CHECK(count_of(svg, "<svg") == 2);
        CHECK_THAT(svg, ContainsSubstring(escape_markup(visible_text(name, 60))));
    }
    Graph graph;
    GraphNode node;
    node.id = "n";
    node.kind = "plain";
    node.lines = {{"<b>\"x\\N\" ]; evil -> n [label=<<I>>", 0, false, ""}};
    node.tooltip = "\"]; evil2 [label=\"\\G";
    graph.nodes = {node};
    graph.edges.push_back({"n", "n", "flow", "--> <TABLE>", true, ""});
    const std::string svg = lay_out_graph(graph);
    CHECK(count_of(svg, "class=\"node") == 1);
    CHECK_THAT(svg, ContainsSubstring("x\\N&quot; ]; evil &#45;&gt; n [label=&lt;&lt;I&gt;&gt;"));
    CHECK_THAT(svg, ContainsSubstring("evil2 [label=&quot;\\G"));
}

TEST_CASE("broken configs are refused with file and field", "[architecture]")
{
    const TemporaryFolder folder("architecture");
    const auto file = folder.path / "config.json";
    const auto message = [&](const nlohmann::json& config) {
        write_whole_file(file, config.dump(), Overwrite::any_file);
        try {
            read_model_sizes(file, "x");
        } catch (const std::runtime_error& error) {
            return std::string(error.what());
        }
        return std::string("no error");
    };
    nlohmann::json config = shipped_config();
    CHECK(message(config) == "no error");
    config["text_config"]["num_hidden_layers"] = -1;
    CHECK_THAT(message(config), ContainsSubstring("config.json") &&
                                    ContainsSubstring("text_config.num_hidden_layers") &&
                                    ContainsSubstring("-1"));
    config = shipped_config();
    config["text_config"]["num_hidden_layers"] = 1000000000;
    CHECK_THAT(message(config), ContainsSubstring("num_hidden_layers"));
    config = shipped_config();
    config["text_config"]["cross_attention_layers"] = {3, 10};
    CHECK_THAT(message(config), ContainsSubstring("cross_attention_layers"));
    config = shipped_config();
    config["vision_config"].erase("patch_size");
    CHECK_THAT(message(config), ContainsSubstring("vision_config.patch_size: missing"));
    config = shipped_config();
    config["vision_config"]["patch_size"] = "14";
    CHECK_THAT(message(config), ContainsSubstring("\"14\""));
    config = shipped_config();
    config["vision_config"]["supported_aspect_ratios"] = nlohmann::json::array();
    for (int i = 0; i < 65; ++i)
        config["vision_config"]["supported_aspect_ratios"].push_back({1, 1});
    CHECK_THAT(message(config), ContainsSubstring("supported_aspect_ratios: 65"));
    // The largest sizes that are accepted: counts stay whole and positive.
    config = shipped_config();
    config["text_config"].update({{"hidden_size", 1000000},
                                  {"intermediate_size", 10000000},
                                  {"vocab_size", 10000000},
                                  {"num_hidden_layers", 1000}});
    config["vision_config"].update({{"hidden_size", 1000000},
                                    {"intermediate_size", 10000000},
                                    {"num_hidden_layers", 1000},
                                    {"num_global_layers", 1000},
                                    {"image_size", 16384},
                                    {"patch_size", 1},
                                    {"max_num_tiles", 64}});
    CHECK(message(config) == "no error");
    const ModelSizes largest = read_model_sizes(file, "x");
    const ParameterCounts counts = count_parameters(largest);
    CHECK(counts.positions > 0);
    CHECK(counts.total == counts.vision + counts.text);
    CHECK(static_cast<double>(counts.total) > 1e17);
    CHECK_THROWS_WITH(architecture_drawing(largest, {DiagramStyle::article, true, "a.svg"}),
                      ContainsSubstring("--unfold") && ContainsSubstring("3000 layers"));
    CHECK_THAT(message({{"model_type", "llama"}}), ContainsSubstring("mllama"));
    write_whole_file(file, "{", Overwrite::any_file);
    CHECK_THROWS_WITH(read_model_sizes(file, "x"), ContainsSubstring("is not JSON"));
    CHECK_THROWS_WITH(read_model_sizes(folder.path / "absent.json", "x"), ContainsSubstring("absent.json"));
}

TEST_CASE("drawings are written by the file's ending, whole or not at all", "[architecture]")
{
    const TemporaryFolder folder("output");
    const std::string svg =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"20\" height=\"10\"><rect width=\"20\" "
        "height=\"10\"/></svg>";
    for (const auto& [name, start] : std::vector<std::pair<std::string, std::string>>{
             {"a.svg", "<svg"}, {"a.PNG", "\x89PNG"}, {"a.pdf", "%PDF"}}) {
        write_drawing(svg, folder.path / name);
        std::ifstream stream(folder.path / name, std::ios::binary);
        std::string bytes(start.size(), ' ');
        stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        CHECK(bytes == start);
    }
    CHECK_THROWS_WITH(write_drawing(svg, folder.path / "a.jpg"), ContainsSubstring(".svg, .png or .pdf"));
    CHECK_THROWS_WITH(write_drawing(svg, folder.path / "absent" / "a.svg"),
                      ContainsSubstring("cannot be written"));
    CHECK_THROWS_WITH(write_drawing("no svg", folder.path / "b.png"),
                      ContainsSubstring("rsvg-convert failed"));
    CHECK_FALSE(std::filesystem::exists(folder.path / "b.png"));
    CHECK_THROWS_WITH(run_program({"pictor-no-such-program"}, "", "install it"),
                      ContainsSubstring("install it"));
    // More than a pipe holds, both ways.
    const std::string large(3000000, 'x');
    CHECK(run_program({"cat"}, large, "") == large);
    CHECK_THROWS(run_program({"false"}, large, ""));
}
