// viz matrix: a cell for each number, in the right place, in the right colour.
#include "viz/matrices/matrix.h"

#include "base/at.h"
#include "tests/catch.h"
#include "tests/run_command.h"
#include "tests/trace/trace_folder.h"
#include "viz/drawing/colour_map.h"

using namespace pictor;
using pictor::testing::MadeUpRun;
using pictor::testing::TemporaryFolder;
using pictor::testing::write_made_up_run;

namespace {

std::string error_of(const Run& run, const std::string& name)
{
    try {
        read_matrix(run, name, 0);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

const std::string probs = "language_model.layers.3.cross_attn.probs";

}  // namespace

TEST_CASE("a matrix holds the slice's numbers, whichever axes stay open", "[matrix]")
{
    const TemporaryFolder temporary("matrix");
    MadeUpRun made;
    made.attention = [](std::int64_t head, std::int64_t position, std::int64_t key) {
        return 1.0 + static_cast<double>((head * 31 + position * 17 + key * 7) % 13);
    };
    write_made_up_run(made, temporary.path / "run");
    const Run run(temporary.path / "run");
    const TraceTensor& whole = run.tensor(probs, 0);
    const std::int64_t rows = whole.shape[1], keys = whole.shape[2];
    const auto number = [&](std::int64_t head, std::int64_t row, std::int64_t key) {
        return double{at(whole.values, (head * rows + row) * keys + key)};
    };
    const MatrixCells head = read_matrix(run, probs + "[1]", 0);
    CHECK(head.down.word == "token");
    CHECK(head.across.word == "key");
    CHECK(head.down.labels.at(2) == "What");
    CHECK(head.across.labels.empty());  // keys of the picture are no tokens
    REQUIRE(head.values.size() == static_cast<std::size_t>(rows * keys));
    CHECK(at(head.values, 2 * keys + 9) == number(1, 2, 9));

    const MatrixCells across_heads = read_matrix(run, probs + "[:,2,5:8]", 0);
    CHECK(across_heads.down.word == "head");
    CHECK(across_heads.across.first == 5);
    REQUIRE(across_heads.values.size() == 6);
    CHECK(across_heads.values[4] == number(1, 2, 6));

    const MatrixCells row = read_matrix(run, probs + "[0,1,:]", 0);
    CHECK(row.down.word.empty());
    CHECK(row.values.size() == static_cast<std::size_t>(keys));
    const MatrixCells column = read_matrix(run, probs + "[0,:,3]", 0);
    CHECK(column.values[1] == number(0, 1, 3));

    CHECK_THAT(error_of(run, probs),
               ContainsSubstring("3 of them open") && ContainsSubstring(probs + "[0] would be right"));
    CHECK_THAT(error_of(run, probs + "[9]"), ContainsSubstring("outside an axis of 2"));
    CHECK_THAT(error_of(run, "no.such"), ContainsSubstring("no.such"));
}

TEST_CASE("a matrix is drawn with its axes, numbers where there is room, and masked scores in gray",
          "[matrix]")
{
    MatrixCells m{
        "scores", {"token", 0, 2, {std::string("I"), "see"}}, {"key", 4, 2, {}}, {-2, 0.5, -3.4e38, 1}};
    const std::string svg = matrix_drawing(m, nullptr, "", "");
    for (const char* words :
         {"token", "key", ">I<", ">see<", ">4<", ">5<", ">mask<", ">0.5<", "1 masked, gray",
          "\xE2\x88\x92"
          "2 to 1"})
        CHECK_THAT(svg, ContainsSubstring(words));
    CHECK(svg.find("e+38") == std::string::npos);
    MatrixCells other = m;
    other.values[3] = 4;
    const std::string both = matrix_drawing(m, &other, "mine", "theirs");
    for (const char* words : {"mine", "theirs", "the first minus the second",
                              ">\xE2\x88\x92"
                              "3<"})
        CHECK_THAT(both, ContainsSubstring(words));
}

TEST_CASE("viz matrix draws a real run, and two beside each other", "[matrix][command_line]")
{
    const pictor_test::TempFolder folder;
    const std::string one = (folder.path / "one").string(), two = (folder.path / "two").string();
    for (const auto& [trace, rule] : {std::pair(one, "meta"), std::pair(two, "transformers")})
        check_fine(pictor_test::reference({"run", "--image", "models/pictor/pictures/demo.png", "--prompt",
                                           "Where is the fish?", "--reference", rule, "--trace", trace,
                                           "--trace-only", "*probs"}));
    const std::string output = (folder.path / "m.svg").string();
    const auto drawn = pictor_test::run_command(
        "viz", {"matrix", one, probs + "[0,:,:]", "--beside", two, "--output", output});
    check_fine(drawn);
    CHECK(drawn.out == output + "\n");
    CHECK_THAT(pictor_test::read_file(output), ContainsSubstring("the first minus the second"));
    pictor_test::check_refused(pictor_test::run_command("viz", {"matrix", one, probs, "--output", output}),
                               "viz", {"3 of them open", "would be right"});
}
