// Heatmaps tell the truth: geometry, ledger, which row was read, and what is drawn.
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>

#include "base/at.h"
#include "base/shown_text.h"
#include "reference/image/tiles.h"
#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "tests/viz/small_tiles.h"
#include "viz/drawing/colour_map.h"
#include "viz/drawing/output.h"
#include "viz/drawing/paint.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/heatmaps/heatmap_command.h"
#include "viz/heatmaps/heatmap_figure.h"
#include "viz/heatmaps/patch_grid.h"
#include "viz/heatmaps/terminal.h"

using namespace pictor;
using namespace pictor::testing;

TEST_CASE("the ledger adds up to 100 percent and knows every kind of key", "[heatmap]")
{
    for (const ImageSize& size : sizes) {
        const PictureGeometry g = geometry_of(cut_into_tiles(blank(size.height, size.width), small_tiles()));
        const std::int64_t per_tile = g.patches_per_tile();
        std::vector<double> keys(static_cast<std::size_t>(2 * 4 * per_tile));
        double sum = 0;
        for (std::size_t key = 0; key < keys.size(); ++key)
            sum += keys[key] = 1 + static_cast<double>(key * 7919 % 101);
        for (double& key : keys)
            key /= sum;
        const Ledger ledger = make_ledger(g, keys, 1, 4);
        CHECK(ledger.sum() == Approx(1).margin(1e-12));
        double percent = 0;
        for (const double part : rounded_percentages(ledger))
            percent += part;
        CHECK(percent == Approx(100).margin(1e-9));

        double other = 0;
        for (std::int64_t key = 0; key < 4 * per_tile; ++key)
            other += at(keys, key);
        CHECK(ledger.other_pictures == Approx(other));
        // Uniform attention over this picture's canvas: its shares are shares of area.
        std::vector<double> even(static_cast<std::size_t>(4 * per_tile), 1.0);
        const Ledger area = make_ledger(g, even, 0, 4);
        CHECK(area.picture * static_cast<double>(patch_size * patch_size) ==
              Approx(static_cast<double>(g.resized_height * g.resized_width)));
        CHECK(area.class_tokens == Approx(static_cast<double>(g.tile_rows * g.tile_columns)));
        CHECK(area.absent == Approx(static_cast<double>((4 - g.tile_rows * g.tile_columns) * per_tile)));
    }
}

TEST_CASE("the colour map's lightness rises evenly", "[heatmap]")
{
    double last = -1;
    for (int i = 0; i <= 64; ++i) {
        const double lightness = perceived_lightness(heat_colour(i / 64.0));
        CHECK(lightness > last);
        CHECK(lightness == Approx(0.16 + 0.81 * i / 64.0).margin(0.02));
        last = lightness;
        CHECK(perceived_lightness(difference_colour(i / 64.0)) ==
              Approx(perceived_lightness(difference_colour(-i / 64.0))).margin(0.03));
    }
}

TEST_CASE("a heat is read from the row before the word, in its step", "[heatmap]")
{
    const TemporaryFolder temporary("heat-row");
    MadeUpRun made;
    // Each position looks at a patch of its own: key = position + 1 in tile 0.
    made.attention = [](std::int64_t head, std::int64_t position, std::int64_t key) {
        return key == position + 1 ? 1.0 + static_cast<double>(head) : 0.001;
    };
    write_made_up_run(made, temporary.path / "run");
    const Run run(temporary.path / "run");
    REQUIRE(run.cross_layers() == std::vector<std::int64_t>{3});
    CHECK(run.find_token("star") == 8);
    CHECK(run.word_at(8) == "star");
    CHECK(run.word_at(9) == "star");
    CHECK(run.find_token("STAR") == 8);
    CHECK(run.find_token("see") == 6);
    CHECK(run.find_token("7") == 7);
    CHECK(run.find_token("What") == 2);
    CHECK_THROWS_WITH(run.find_token("boat"), ContainsSubstring("boat") && ContainsSubstring("6 see"));
    CHECK_THROWS_WITH(run.find_token("11"), ContainsSubstring("0 to 10"));
    for (std::int64_t token = 2; token < run.n_tokens(); ++token) {
        HeatRequest request;
        request.layer = 3;
        request.token = token;
        const Heat heat = make_heat(run, request);
        INFO("token " << token);
        CHECK(heat.row.position == token - 1);
        CHECK(heat.row.step == (token - 1 < 5 ? 0 : token - 5));
        CHECK(key_of(heat.geometry, *strongest_place(heat)) == TilePatch{0, token});
        CHECK_FALSE(heat.no_effect);
    }
    HeatRequest first;
    first.layer = 3;
    CHECK_THROWS_WITH(make_heat(run, first), ContainsSubstring("first token"));
}

TEST_CASE("TRAP all_zero_bias_rows: a row that may see no picture is drawn as no effect", "[heatmap][trap]")
{
    const TemporaryFolder temporary("heat-blind");
    write_made_up_run(MadeUpRun{}, temporary.path / "run");
    const Run run(temporary.path / "run");
    HeatRequest request;
    request.layer = 3;
    request.token = 1;  // read from row 0, before the picture: its recorded probabilities are not zero
    CHECK(run.cross_probs(3, *run.row_predicting(1))[0][1] > 0);
    const Heat heat = make_heat(run, request);
    CHECK(heat.no_effect);
    CHECK(strongest(heat) == 0);
    const std::string svg = heatmap_figure(run, heat, Raster(70, 40, {200, 200, 200}), {});
    CHECK_THAT(svg, ContainsSubstring("no effect"));
    CHECK_THAT(svg, !ContainsSubstring("patches on the picture"));
}

TEST_CASE("mean, max, entropy and one head are what they say", "[heatmap]")
{
    const TemporaryFolder temporary("heat-heads");
    MadeUpRun made;
    made.attention = [](std::int64_t head, std::int64_t, std::int64_t key) {
        return key == 1 + head ? 3.0 : key < 3 ? 1.0 : 0.0;
    };
    write_made_up_run(made,
                      temporary.path / "run");  // head 0: 1/5 3/5 1/5, head 1: 1/5 1/5 3/5 over keys 0, 1, 2
    const Run run(temporary.path / "run");
    const auto value = [&](const std::string& head, std::size_t patch) {
        HeatRequest request;
        request.layer = 3;
        request.token = 8;
        read_head(head, 2, request);
        return make_heat(run, request).grid[patch];
    };
    CHECK(value("0", 0) == Approx(0.6));
    CHECK(value("1", 0) == Approx(0.2));
    CHECK(value("mean", 0) == Approx(0.4));
    CHECK(value("max", 1) == Approx(0.6));
    CHECK(value("entropy", 0) == Approx(-(0.75 * std::log2(0.75) + 0.25 * std::log2(0.25))));
    CHECK(value("entropy", 5) == 0);
    HeatRequest spread;
    spread.layer = 3;
    spread.token = 8;
    const Heat heat = make_heat(run, spread);
    const double bits = -(0.6 * std::log2(0.6) + 0.4 * std::log2(0.2));
    REQUIRE(heat.head_bits.size() == 2);
    CHECK(heat.head_bits[0] == Approx(bits));
    CHECK(heat.head_bits[1] == Approx(bits));
    CHECK(heat.drawn_bits == Approx(-(0.8 * std::log2(0.4) + 0.2 * std::log2(0.2))));
    CHECK_THAT(heatmap_figure(run, heat, Raster(70, 40), {}),
               ContainsSubstring("Spread of single heads: 1.4 bits (head 0)"));
    HeatRequest request;
    CHECK_THROWS_WITH(read_head("2", 2, request), ContainsSubstring("0 to 1"));
    CHECK_THROWS_WITH(read_head("median", 2, request), ContainsSubstring("median"));
    CHECK(entropy_bits({0.25, 0.25, 0.25, 0.25}) == Approx(2));
}

TEST_CASE("heatmap command: numbers as JSON, clear errors", "[heatmap]")
{
    const TemporaryFolder temporary("heat-command");
    const auto folder = temporary.path / "run";
    write_made_up_run(MadeUpRun{}, folder);
    HeatmapOptions options;
    options.trace = folder;
    options.token = "star";
    options.output = temporary.path / "star.json";
    REQUIRE(run_heatmap(options).size() == 1);
    std::ifstream stream(options.output);
    const auto numbers = nlohmann::json::parse(stream);
    CHECK(numbers["grid"] == nlohmann::json({4, 8}));
    CHECK(numbers["values"].size() == 32);
    CHECK(numbers["values"][0].get<double>() == Approx(1.0 / 68).epsilon(1e-6));
    CHECK(numbers["read_from"]["position"] == 7);

    options.output = temporary.path / "star.svg";
    CHECK_THROWS_WITH(run_heatmap(options), ContainsSubstring("picture.png") && ContainsSubstring("gone"));
    write_whole_file(folder / "picture.png", encode_png(Raster(30, 30)), Overwrite::any_file);
    CHECK_THROWS_WITH(run_heatmap(options), ContainsSubstring("not the same picture"));
    write_whole_file(folder / "picture.png", encode_png(Raster(70, 40, {90, 120, 60})), Overwrite::any_file);
    CHECK(run_heatmap(options).size() == 1);
    CHECK(std::filesystem::file_size(options.output) > 1000);
    options.layer = "4";
    CHECK_THROWS_WITH(run_heatmap(options), ContainsSubstring("layers 3"));
    options.layer = "";
    const auto refused = [&](const std::function<void(HeatmapOptions&)>& change) {
        HeatmapOptions other = options;
        change(other);
        CHECK_THROWS_WITH(run_heatmap(other), ContainsSubstring("would be right") ||
                                                  ContainsSubstring("leave --minus") ||
                                                  ContainsSubstring("are for cross-attention"));
    };
    refused([](HeatmapOptions& o) { o.patch = "1,1"; });
    refused([](HeatmapOptions& o) { o.sheet = "answer"; });
    refused([&](HeatmapOptions& o) {
        o.token = "";
        o.all = true;
        o.minus = folder;
    });
    refused([](HeatmapOptions& o) {
        o.layer = "vision.0";
        o.patch = "1,1";
    });
    options.output = temporary.path / "star.gif";
    CHECK_THROWS_WITH(run_heatmap(options), ContainsSubstring(".gif"));
    write_whole_file(folder / "picture.png", "not a picture", Overwrite::any_file);
    options.output = temporary.path / "star.svg";
    CHECK_THROWS_WITH(run_heatmap(options), ContainsSubstring("not a picture"));
}

TEST_CASE("hostile traces fail clearly or draw safely", "[heatmap]")
{
    const TemporaryFolder temporary("heat-hostile");
    SECTION("NaN is no probability")
    {
        MadeUpRun made;
        made.attention = [](auto, auto, std::int64_t key) {
            return key == 3 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
        };
        write_made_up_run(made, temporary.path / "run");
        const Run run(temporary.path / "run");
        HeatRequest request;
        request.layer = 3;
        request.token = 8;
        CHECK_THROWS_WITH(make_heat(run, request), ContainsSubstring("no probability"));
    }
    SECTION("keys that do not fit the picture")
    {
        MadeUpRun made;
        made.tile_rows = 3;
        made.tile_columns = 2;  // six tiles, keys for four
        made.resized = {28, 49};
        write_made_up_run(made, temporary.path / "run");
        const Run run(temporary.path / "run");
        HeatRequest request;
        request.layer = 3;
        request.token = 8;
        CHECK_THROWS_WITH(make_heat(run, request), ContainsSubstring("tiles"));
    }
    SECTION("a geometry that contradicts itself")
    {
        MadeUpRun made;
        made.resized = {28, 57};
        write_made_up_run(made, temporary.path / "run");
        CHECK_THROWS_WITH(Run(temporary.path / "run"), ContainsSubstring("does not fit the canvas"));
    }
    SECTION("markup, quotes, right-to-left marks and broken bytes in words")
    {
        MadeUpRun made;
        made.answer = {"<script>alert(1)</script>", " \"'&", " \xE2\x80\xAEgnp", " \xF0\x9F\x98\x80",
                       " \xD7\xA9\xD7\x9C",         "\n"};
        write_made_up_run(made, temporary.path / "run");
        const Run run(temporary.path / "run");
        for (std::int64_t token = 5; token < 11; ++token) {
            HeatRequest request;
            request.layer = 3;
            request.token = token;
            const std::string svg = heatmap_figure(run, make_heat(run, request), Raster(70, 40), {});
            CHECK_THAT(svg, !ContainsSubstring("<script"));
            CHECK_THAT(svg, !ContainsSubstring("\xE2\x80\xAE"));
            CHECK_THAT(svg, ContainsSubstring("&lt;script&gt;"));
        }
        CHECK(escape_markup("a\xFF\x01<") == "a\xEF\xBF\xBD\xEF\xBF\xBD&lt;");
        CHECK(escape_markup("\xED\xA0\x80") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    }
}

TEST_CASE("a heatmap in the terminal lights the patch that was read, in letters and in colour", "[heatmap]")
{
    const TemporaryFolder temporary("terminal");
    const auto folder = temporary.path / "run";
    MadeUpRun made;
    made.attention = [&](std::int64_t, std::int64_t, std::int64_t key) {  // tile 0, patch row 1, column 2
        return key == 1 + 1 * 4 + 2 ? 1.0 : 0.0;
    };
    write_made_up_run(made, folder);
    const Run run(folder);
    const Raster picture(70, 40, {200, 200, 200});
    const Heat heat = make_heat(run, {.layer = 3, .token = run.find_token("star")});
    const std::string letters = terminal_heatmap(run, heat, picture, false, {.columns = 80, .colour = false});
    CHECK_THAT(letters, ContainsSubstring("|              |\n"
                                          "|    @@        |\n"
                                          "|              |\n"
                                          "|              |\n"));
    CHECK_THAT(letters, ContainsSubstring("Strongest: row 1, column 2 of 4 x 8 patches, 100"));
    CHECK_THAT(letters, ContainsSubstring("100.0 % on the picture"));
    CHECK(letters.find('\x1b') == std::string::npos);

    const std::string colour = terminal_heatmap(run, heat, picture, false, {.columns = 80, .colour = true});
    const Rgb brightest = legend_colour(1, Palette::heat);
    CHECK(perceived_lightness(brightest) > 0.9);
    CHECK_THAT(colour, ContainsSubstring("\xE2\x96\x80"));
    for (std::size_t start = 0, end = 0; (end = colour.find('\n', start)) != std::string::npos;
         start = end + 1) {
        const std::string line = colour.substr(start, end - start);
        CHECK((line.find('\x1b') == std::string::npos || line.ends_with("\x1b[0m")));  // nothing leaks
    }

    const Heat blind = make_heat(run, {.layer = 3, .token = 1});
    CHECK(blind.no_effect);
    CHECK_THAT(terminal_heatmap(run, blind, picture, false, {.columns = 80, .colour = false}),
               ContainsSubstring("No effect: this row may see no picture."));
}
