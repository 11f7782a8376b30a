// The report's data agree with the trace, and nothing of a trace becomes markup.
#include <fstream>

#include "tests/catch.h"
#include "tests/trace/trace_folder.h"
#include "viz/drawing/output.h"
#include "viz/drawing/raster.h"
#include "viz/heatmaps/heatmap.h"
#include "viz/report/report.h"

using namespace pictor;
using pictor::testing::MadeUpRun;
using pictor::testing::TemporaryFolder;
using pictor::testing::write_made_up_run;

namespace {

MadeUpRun run_with_picture(const std::filesystem::path& folder, MadeUpRun made = {})
{
    made.attention = [](std::int64_t head, std::int64_t position, std::int64_t key) {
        return 1.0 + static_cast<double>((head * 31 + position * 17 + key * 7) % 13);
    };
    write_made_up_run(made, folder);
    write_whole_file(
        folder / made.image_file,
        encode_png(Raster(static_cast<int>(made.size[1]), static_cast<int>(made.size[0]), {90, 120, 60})),
        Overwrite::any_file);
    return made;
}

std::string from_base64(const std::string& text)
{
    const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes;
    unsigned bits = 0;
    int count = 0;
    for (const char c : text) {
        if (c == '=')
            break;
        bits = bits << 6 | static_cast<unsigned>(letters.find(c));
        if ((count += 6) >= 8)
            bytes += static_cast<char>(bits >> (count -= 8) & 0xFF);
    }
    return bytes;
}

std::size_t count_of(const std::string& text, const std::string& part)
{
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
        ++count;
    return count;
}

}  // namespace

TEST_CASE("the report's maps are the trace's to one part in 65535", "[report]")
{
    const TemporaryFolder temporary("report");
    const auto folder = temporary.path / "run";
    run_with_picture(folder);
    const Run run(folder);
    const auto data = report_data(run, {});
    const std::string bytes = from_base64(data["attention"]["values"].get<std::string>());
    const std::size_t n_rows = data["attention"]["rows"].size(), n_maps = data["attention"]["maps"].size(),
                      patches = 32;
    CHECK(n_maps == 3);
    CHECK(n_rows == 10);
    REQUIRE(bytes.size() == 2 * n_maps * n_rows * patches);
    for (std::size_t map = 0; map < n_maps; ++map)
        for (std::size_t row = 1; row < n_rows; ++row) {  // row 0 may see no picture
            HeatRequest request;
            request.layer = 3;
            request.token = static_cast<std::int64_t>(row) + 1;
            request.heads = map < 2 ? HeadChoice::one : HeadChoice::mean;
            request.head = static_cast<std::int64_t>(map);
            const Heat heat = make_heat(run, request);
            const std::size_t index = map * n_rows + row;
            const double largest = data["attention"]["largest"][index].get<double>();
            double worst = 0;
            for (std::size_t patch = 0; patch < patches; ++patch) {
                const auto byte = [&](std::size_t k) {
                    return static_cast<unsigned char>(bytes[2 * (index * patches + patch) + k]);
                };
                worst = std::max(worst,
                                 std::abs((byte(0) + 256.0 * byte(1)) / 65535 * largest - heat.grid[patch]));
            }
            CHECK(worst <= largest / 65535);
            double sum = 0;
            for (const auto& part : data["attention"]["ledgers"][index][0])
                sum += part.get<double>();
            CHECK(sum == Approx(100).margin(1e-9));
        }
    CHECK(data["attention"]["rows"][0]["sees"][0] == false);
    CHECK(data["attention"]["rows"][1]["sees"][0] == true);
}

TEST_CASE("nothing from a trace becomes markup or script", "[report]")
{
    const TemporaryFolder temporary("report-hostile");
    MadeUpRun made;
    made.prompt = {"<|begin_of_text|>", "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>",
                   "\xE2\x80\xA8", "<!--"};
    made.answer = {"\"'`${alert(3)}",
                   " \xF0\x9F\x98\x80",
                   " \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",
                   "]]>",
                   "\xFF\xFE",
                   "&lt;"};
    const auto folder = temporary.path / "<b>run";
    run_with_picture(folder, made);
    const std::string page = report_page(Run(folder), {});
    CHECK(count_of(page, "<script") == 2);
    CHECK(count_of(page, "</script") == 2);
    CHECK(count_of(page, "<img") == 0);
    CHECK(count_of(page, "<!--") == 0);
    CHECK_THAT(page, !ContainsSubstring("<b>run"));
    CHECK_THAT(page, ContainsSubstring("default-src 'none'"));
    // What stands in the data reads back as the words themselves.
    const std::size_t start = page.find("id=\"data\">") + 10;
    const auto data = nlohmann::json::parse(page.substr(start, page.find("</script>", start) - start));
    CHECK(data["tokens"][1] == "</script><script>alert(1)</script>");
    CHECK(data["tokens"][9] == "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST_CASE("a report of any size stays bounded and says what it left out", "[report]")
{
    const TemporaryFolder temporary("report-size");
    const auto folder = temporary.path / "run";
    run_with_picture(folder);
    const Run run(folder);
    ReportOptions options;
    options.attention_bytes = 700;  // room for means of ten rows
    options.most_tensors = 3;
    options.graph_bytes = 0;
    auto data = report_data(run, options);
    CHECK(data["attention"]["maps"].size() == 1);
    CHECK(data["attention"]["rows"].size() == 10);
    CHECK(data["tensors"]["rows"].size() == 3);
    const std::string said = data["left_out"].dump();
    CHECK_THAT(said, ContainsSubstring("Single heads") && ContainsSubstring("after 3 of 12 tensors") &&
                         ContainsSubstring("layers are left out"));
    options.attention_bytes = 200;  // three rows
    data = report_data(run, options);
    CHECK(data["attention"]["rows"].size() == 3);
    CHECK_THAT(data["left_out"].dump(), ContainsSubstring("first 7 tokens"));
}

TEST_CASE("a report without its picture, or without any, still opens", "[report]")
{
    const TemporaryFolder temporary("report-bare");
    const auto folder = temporary.path / "run";
    write_made_up_run(MadeUpRun{}, folder);
    CHECK_THAT(report_data(Run(folder), {})["left_out"].dump(),
               ContainsSubstring("picture.png") && ContainsSubstring("gone"));

    TraceOptions options;
    options.folder = temporary.path / "text";
    TraceWriter writer(options);
    writer.describe("prompt", {{"text", "Hi"}, {"token_ids", {1}}, {"token_texts", {"Hi"}}});
    writer.describe("generated", {{"text", " you"}, {"token_ids", {2}}, {"token_texts", {" you"}}});
    writer.begin_step("prefill", 0, 1);
    const std::vector<float> logits{0, 1, 2, 1, 0, 0, 0, 0};
    writer.recorder()("lm_head", "token vocabulary", {logits.data(), {1, 8}});
    writer.finish();
    const auto data = report_data(Run(options.folder), {});
    CHECK(data["pictures"].empty());
    CHECK(data["attention"]["maps"].empty());
    REQUIRE(data["steps"].size() == 1);
    CHECK(data["steps"][0]["words"].size() == 5);
    CHECK(data["steps"][0]["words"][0][0] == " you");
    CHECK(data["steps"][0]["words"][0][1].get<double>() ==
          Approx(std::exp(2) / (std::exp(2) + 2 * std::exp(1) + 5)));
    CHECK(data["steps"][0]["words"][1][0] == "Hi");
    CHECK(data["steps"][0]["words"][2][0] == "#3");
}

TEST_CASE("words of a byte-level tokenizer are read back", "[report]")
{
    const std::vector<std::string> words = read_vocabulary("models/pictor/tokenizer.json");
    REQUIRE(words.size() >= 512);
    CHECK(std::find(words.begin(), words.end(), " star") != words.end());
    CHECK(std::find(words.begin(), words.end(), "\n\n") != words.end());
    CHECK(words[480] == "<|begin_of_text|>");
    CHECK(read_vocabulary("models/pictor/config.json").empty());
    CHECK(read_vocabulary("no-such-file").empty());
}
