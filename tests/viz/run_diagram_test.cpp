// The diagram of a run says what that run did; the corrected popular diagram says what is true.
#include "viz/graphs/run_diagram.h"

#include "tests/reference/reference_runs.h"
#include "viz/graphs/corrections.h"

using namespace pictor;
using pictor_test::images;
using pictor_test::reference;
using pictor_test::TempFolder;

namespace {

std::string all_of(const std::vector<Correction>& corrections)
{
    std::string text;
    for (const Correction& c : corrections)
        text += c.said + "\n" + c.is + "\n";
    return text;
}

}  // namespace

TEST_CASE("corrections: true numbers beside the popular ones, from the model's sizes", "[architecture]")
{
    const std::string text = all_of(text_corrections(preset_sizes("11b"))),
                      picture = all_of(picture_corrections(preset_sizes("11b")));
    for (const char* words : {"32 self and 8 cross layers", "3, 8, 13, 18, 23, 28, 33, 38",
                              "each of the 32 self", "128,256 rows for tokens and 8 more"})
        CHECK_THAT(text, ContainsSubstring(words));
    for (const char* words : {"224", "560 \xC3\x97 560", "1,601 rows", "6272+", "6,404 keys", "7,680 wide",
                              "not optional", "3, 7, 15, 23, 30", "three times"})
        CHECK_THAT(picture, ContainsSubstring(words));
    CHECK_THAT(all_of(text_corrections(preset_sizes("90b"))),
               ContainsSubstring("80 self and 20 cross layers"));
    std::set<int> numbers;
    for (const auto& side : {text_corrections(preset_sizes("11b")), picture_corrections(preset_sizes("11b"))})
        for (const Correction& c : side)
            numbers.insert(c.number);
    CHECK(numbers ==
          std::set<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});  // the nine of chapter 1, and a box that is right
    for (const DiagramStyle style : {DiagramStyle::slide, DiagramStyle::article}) {
        const SvgSize size = svg_size(corrections_drawing(preset_sizes("11b"), style));
        CHECK(size.width == (style == DiagramStyle::slide ? 1600 : 1000));
        CHECK(size.height <= 900);
    }
}

TEST_CASE("a run's diagram: words and ids, picture on its tiles, shapes, likeliest first words",
          "[architecture]")
{
    const TempFolder folder;
    const std::string trace = (folder.path / "run").string();
    pictor_test::check_fine(reference(
        {"run", "--image", images + "odd.png", "--prompt", "What is in this image?", "--trace", trace}));
    const Run run(trace);
    const RunFacts facts{run,
                         {{"I", 0.9999}, {"No", 0.00001}},
                         canvas_of(load_picture(images + "odd.png"), run.pictures()[0].geometry, 440, 260)};
    const ModelSizes sizes = sizes_of_run(run.trace());
    CHECK(count_parameters(sizes).total ==
          count_parameters(read_model_sizes("models/pictor/config.json", "")).total);
    // The lower part of the canvas is padding: gray; the upper is the picture.
    CHECK(facts.canvas.at(facts.canvas.width / 4, facts.canvas.height - 9) == Rgb{150, 150, 150});
    CHECK(facts.canvas.at(facts.canvas.width / 4, 9) != Rgb{150, 150, 150});
    for (const DiagramStyle style : {DiagramStyle::slide, DiagramStyle::article}) {
        const std::string svg = architecture_drawing(sizes, {style, false, "a.svg", &facts});
        for (const char* words :
             {"odd.png", "301 \xC3\x97 173", "2 \xC3\x97 2 of 4 tiles", "[1, 4, 64, 96]", "[1, 4, 65, 384]",
              "[17, 128]", "[8, 17, 260]", "12 of 17 rows see the picture", "99.99 %", "&lt; 0.01 %",
              "the picture on its tiles"})
            CHECK_THAT(svg, ContainsSubstring(words));
    }
    CHECK_THAT(architecture_drawing(sizes, {DiagramStyle::article, false, "a.svg", &facts}),
               ContainsSubstring("this\xC2\xA0"
                                 "400") ||
                   ContainsSubstring("this&#160;400"));
}

TEST_CASE("a run without a picture has its diagram, too; a foreign trace is refused", "[architecture]")
{
    const TempFolder folder;
    const std::string trace = (folder.path / "run").string();
    pictor_test::check_fine(reference({"run", "--prompt", "What is your name?", "--trace", trace}));
    const Run run(trace);
    const RunFacts facts{run, {}, {}};
    const std::string svg =
        architecture_drawing(sizes_of_run(run.trace()), {DiagramStyle::article, false, "a.svg", &facts});
    CHECK_THAT(svg, ContainsSubstring("passed over: no picture"));
    CHECK_THAT(svg, ContainsSubstring("logits were not recorded"));
    const TempFolder other;
    pictor_test::write_file(other.path / "trace.json",
                            R"({"format":"pictor-trace","version":1,"steps":[],"tensors":[]})");
    CHECK_THROWS_WITH(sizes_of_run(Trace(other.path)), ContainsSubstring("d_model is not a whole number"));
}

TEST_CASE("a slide: no line to the second row cuts the first, and what is too small is refused",
          "[architecture]")
{
    const std::string slide =
        architecture_drawing(preset_sizes("11b"), {DiagramStyle::slide, false, "a.svg"});
    // Left out of the router's lines, led round instead: out at the left, down, in from below.
    CHECK_THAT(slide, ContainsSubstring("<g class=\"edge picture\"><path d=\"M"));
    CHECK_THROWS_WITH(architecture_drawing(preset_sizes("11b"), {DiagramStyle::slide, true, "a.svg"}),
                      ContainsSubstring("too small to read") && ContainsSubstring("--style article"));
}
