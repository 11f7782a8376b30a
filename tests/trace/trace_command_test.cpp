// The program `trace`: every command, every option, every exit code; trace_hostile_test.cpp breaks traces.
#include <regex>

#include "base/safetensors.h"
#include "tests/trace/trace_copy.h"

namespace fs = std::filesystem;
using namespace pictor_test;
using Json = nlohmann::json;

namespace {

const std::string probs = "language_model.layers.1.cross_attn.probs";

void check_difference(const CommandResult& result, const std::vector<std::string>& words)
{
    INFO("stdout: " << result.out << "\nstderr: " << result.err << "\nsignal: " << result.signal);
    CHECK(result.exit_code == 1);
    CHECK(result.err.empty());
    for (const std::string& word : words)
        CHECK_THAT(result.out, ContainsSubstring(word));
}

void check_same(const CommandResult& result)
{
    check_fine(result);
    CHECK(result.err.empty());
    CHECK_THAT(result.out, ContainsSubstring(" 0 differ"));
}

}  // namespace

TEST_CASE("trace: help says what there is, with an example", "[command_line]")
{
    for (const std::string command : {"show", "diff", "check", "convert"}) {
        const CommandResult help = trace({command, "--help"});
        check_fine(help);
        CHECK(help.err.empty());
        CHECK_THAT(help.out, ContainsSubstring("Example: trace " + command));
    }
    const CommandResult help = trace({"--help"});
    check_fine(help);
    for (const std::string word : {"show", "diff", "check", "convert", "Example: trace ", "Exit: 0"})
        CHECK_THAT(help.out, ContainsSubstring(word));
    const CommandResult diff_help = trace({"diff", "--help"});
    for (const std::string option : {"--rtol", "--atol", "--policy", "--common", "--only", "--json", "--html",
                                     "--model", "--no-explanation"})
        CHECK_THAT(diff_help.out, ContainsSubstring(option));
}

TEST_CASE("trace: bad usage is exit 2 and one line on stderr", "[command_line]")
{
    const struct {
        Arguments arguments;
        std::string word;
    } cases[] = {
        {{}, "command"},
        {{"draw"}, "command"},
        {{"--draw"}, "command"},
        {{"show"}, "DIR"},
        {{"show", golden, "--draw"}, "--draw"},
        {{"show", golden, "lm_head", "more"}, "more"},
        {{"show", golden, "--step", "first"}, "--step"},
        {{"show", golden, "--step", "99"}, "99"},
        {{"show", golden, "lm_head", "--step", "-1"}, "-1"},
        {{"show", golden, "no_such_tensor"}, "no_such_tensor"},
        {{"show", golden, "lm_head[11]"}, "11"},
        {{"show", golden, "lm_head[0,0,0]"}, "shape [11, 96]"},
        {{"show", golden, "lm_head[7:1]"}, "7:1"},
        {{"show", golden, "lm_head[0"}, "lm_head"},
        {{"show", golden, "lm_head[a]"}, "a"},
        {{"diff", golden}, "B"},
        {{"diff", golden, golden, "--rtol", "-1"}, "--rtol"},
        {{"diff", golden, golden, "--atol", "nan"}, "--atol"},
        {{"diff", golden, golden, "--atol", "much"}, "--atol"},
        {{"diff", golden, golden, "--atol", "1", "--policy", "golden/tolerances.json"}, "--policy"},
        {{"diff", golden, golden, "--policy", "no/such/policy.json"}, "no/such/policy.json"},
        {{"diff", golden, golden, "--policy", "Makefile"}, "Makefile"},
        {{"diff", golden, golden, "--only", "no_such_*"}, "no tensor in common"},
        {{"diff", golden, golden, "--model", "no/such/model"}, "no/such/model"},
        {{"diff", golden, golden, "--model", "golden/cases"}, "golden/cases"},
        {{"diff", golden, golden, "--html", "no/such/folder/page.html"}, "no/such/folder/page.html"},
        {{"diff", golden, "golden/cases"}, "golden/cases"},
        {{"check", golden}, "GOLDEN"},
        {{"check", golden, golden, "--atol", "1"}, "--atol"},
        {{"convert", golden}, "OUT"},
        {{"convert", "no/such/file", "unmade"}, "no/such/file"},
        {{"convert", "Makefile", "unmade"}, "Makefile"},
        {{"convert", golden, "unmade", "--to", "paper"}, "--to"},
        {{"convert", golden, "unmade", "--only", "no_such_*"}, "--only"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.arguments);
        check_refused(trace(each.arguments), "trace", {each.word});
    }
    CHECK_FALSE(fs::exists("unmade"));
}

TEST_CASE("trace show: the overview, a tensor, a slice", "[command_line]")
{
    const CommandResult overview = trace({"show", golden});
    check_fine(overview);
    for (const std::string word :
         {"llama-models", "step 0", "prefill", "step 1", "decode", "lm_head", "[token 11, vocabulary 96]"})
        CHECK_THAT(overview.out, ContainsSubstring(word));
    const CommandResult later = trace({"show", golden, "--step", "1"});
    check_fine(later);
    CHECK_THAT(later.out, ContainsSubstring("[token 1, vocabulary 96]"));
    const CommandResult whole = trace({"show", golden, "lm_head"});
    check_fine(whole);
    CHECK_THAT(whole.out, ContainsSubstring("-0.8566691"));  // the first number of the file
    const CommandResult slice = trace({"show", golden, "lm_head[0,1:3]"});
    check_fine(slice);
    CHECK_THAT(slice.out, ContainsSubstring("-2.9073417"));
    CHECK_THAT(slice.out, ContainsSubstring("0.52373296"));
    CHECK_THAT(slice.out, !ContainsSubstring("-0.8566691"));
}

TEST_CASE("trace diff: same, different, and what tolerances do", "[command_line]")
{
    check_same(trace({"diff", golden, golden, "--atol", "0", "--rtol", "0"}));
    const TraceCopy copy;
    copy.set_first_value(probs, "0.75");
    check_difference(trace({"diff", copy.text(), golden}),
                     {"First difference: step 0, " + probs, "at [0, 0, 0]", "a 0.75"});
    check_difference(trace({"diff", golden, copy.text()}), {probs, "b 0.75"});
    check_difference(trace({"diff", copy.text(), golden, "--policy", "golden/tolerances.json"}), {probs});
    check_same(trace({"diff", copy.text(), golden, "--atol", "1"}));
    check_same(trace({"diff", golden, copy.text(), "--rtol", "1", "--atol", "0"}));
    check_same(trace({"diff", copy.text(), golden, "--only", "lm_head", "--only", "*.norm"}));

    const CommandResult json = trace({"diff", copy.text(), golden, "--json"});
    CHECK(json.exit_code == 1);
    CHECK_THAT(Json::parse(json.out).dump(), ContainsSubstring(probs));
    const CommandResult same_json = trace({"diff", golden, golden, "--json"});
    CHECK(same_json.exit_code == 0);
    CHECK(Json::parse(same_json.out).at("same") == true);

    copy.set_first_value(probs, "\"NaN\"");
    check_difference(trace({"diff", copy.text(), golden, "--atol", "1e30"}), {probs, "nan"});
}

TEST_CASE("trace diff: a tensor that one side lacks is a difference, unless it is told otherwise",
          "[command_line]")
{
    const TraceCopy copy;
    copy.forget("lm_head");
    check_difference(trace({"diff", copy.text(), golden}), {"lm_head"});
    check_difference(trace({"diff", golden, copy.text()}), {"lm_head"});
    const CommandResult common = trace({"diff", copy.text(), golden, "--common"});
    check_same(common);
    CHECK_THAT(common.out, ContainsSubstring("lm_head"));  // named all the same
    const TraceCopy other_shape;
    other_shape.change_index([](Json& index) {
        for (Json& entry : index.at("tensors"))
            if (entry.at("name") == "lm_head" && entry.at("step") == 0)
                entry["shape"] = {96, 11};
    });
    CHECK(trace({"diff", other_shape.text(), golden}).exit_code != 0);
}

TEST_CASE("trace check: every golden tensor must be there, more may be", "[command_line]")
{
    check_same(trace({"check", golden, golden, "--policy", "golden/tolerances.json"}));
    TraceCopy copy;
    copy.forget("lm_head");
    check_difference(trace({"check", copy.text(), golden}), {"lm_head"});
    check_same(trace({"check", golden, copy.text()}));
    const CommandResult json = trace({"check", copy.text(), golden, "--json"});
    CHECK(json.exit_code == 1);
    CHECK(Json::parse(json.out).at("same") == false);
    check_same(trace({"check", copy.text(), golden, "--only", "*.probs"}));

    const TraceCopy lenient;
    lenient.set_first_value(probs, "0.75");
    check_difference(trace({"check", golden, lenient.text()}), {probs});
    write_file(lenient.path / "policy.json", R"({"*": {"atol": 1, "rtol": 0}})");
    check_same(trace({"check", golden, lenient.text()}));
    check_difference(trace({"check", golden, lenient.text(), "--policy", "golden/tolerances.json"}), {probs});

    const TraceCopy other_words;
    other_words.change_index([](Json& index) { index["generated"]["token_ids"][0] = 1; });
    check_difference(trace({"check", other_words.text(), golden}), {"generated"});
    check_same(trace({"diff", other_words.text(), golden}));
}

TEST_CASE("trace convert: to safetensors, to .npy, and back", "[command_line]")
{
    const TempFolder folder;
    const std::string tensors = (folder.path / "t.safetensors").string(),
                      arrays = (folder.path / "arrays").string(), back = (folder.path / "back").string();
    check_fine(trace({"convert", golden, tensors}));
    const pictor::SafetensorsFile file(tensors);
    CHECK(file.tensors().size() == read_json(fs::path(golden) / "trace.json").at("tensors").size());
    check_fine(trace({"convert", tensors, back}));
    check_same(trace({"diff", back, golden, "--atol", "0", "--rtol", "0"}));

    check_fine(trace({"convert", golden, arrays, "--only", "lm_head", "--only", "language_model.norm"}));
    CHECK(entries_of(arrays).count("000-lm_head.npy") == 1);
    check_refused(trace({"convert", arrays, back}), "trace", {back, "--force"});
    check_fine(trace({"convert", arrays, back, "--force"}));
    check_same(trace({"diff", back, golden, "--common", "--atol", "0", "--rtol", "0"}));
    CHECK(read_json(fs::path(back) / "trace.json").at("tensors").size() == entries_of(arrays).size());

    check_fine(trace({"convert", golden, tensors, "--only", "lm_head"}));  // the same kind of file: replaced
    CHECK(pictor::SafetensorsFile(tensors).tensors().size() < file.tensors().size());
    check_fine(trace({"convert", golden, (folder.path / "named_oddly").string(), "--to", "safetensors",
                      "--only", "lm_head"}));
    CHECK(pictor::SafetensorsFile(folder.path / "named_oddly").tensors().size() ==
          pictor::SafetensorsFile(tensors).tensors().size());

    write_file(folder.path / "batch.safetensors",
               safetensors_bytes(RawTensors{{"lm_head", f32({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6})}}));
    const std::string squeezed = (folder.path / "squeezed").string();
    check_fine(trace({"convert", (folder.path / "batch.safetensors").string(), squeezed, "--squeeze"}));
    CHECK(read_json(fs::path(squeezed) / "trace.json").at("tensors")[0].at("shape") == Json{2, 3});

    write_file(folder.path / "tree.json",
               R"json({"module_path": "MllamaForConditionalGeneration", "outputs": null, "children": [
        {"module_path": "MllamaForConditionalGeneration.lm_head", "outputs": {"shape": "torch.Size([1, 2])",
          "dtype": "torch.float32", "value": [[1.5, -2.0]]}}]})json");
    check_fine(trace(
        {"convert", (folder.path / "tree.json").string(), (folder.path / "tree").string(), "--squeeze"}));
    const CommandResult shown = trace({"show", (folder.path / "tree").string(), "lm_head"});
    check_fine(shown);
    CHECK_THAT(shown.out, ContainsSubstring("1.5"));
    CHECK(entries_of(folder.path) == std::set<std::string>{"arrays", "back", "batch.safetensors",
                                                           "named_oddly", "squeezed", "t.safetensors", "tree",
                                                           "tree.json"});
}

TEST_CASE("trace diff: faults and causes in text, JSON and on a page", "[command_line]")
{
    const std::string other = "golden/cases/text_before/transformers", meta = "golden/cases/text_before/meta";
    const TempFolder folder;
    const fs::path page = folder.path / "page.html";
    check_difference(
        trace({"diff", other, meta, "--policy", "golden/tolerances.json", "--html", page.string()}),
        {"likely cause: kept_states_off_by_one", "OUTPUT of layers 1, 2, 4", "How the error grew"});
    const std::string html = read_file(page);
    for (const char* part : {"<!DOCTYPE html>", "default-src 'none'; style-src 'nonce-", "script-src 'nonce-",
                             ">kept_states_off_by_one</span>", "<svg", "</html>\n"})
        CHECK_THAT(html, ContainsSubstring(part));
    // Only what differs, each tensor once; the curve begins where the difference does.
    const auto rows_of = [&](const std::string& name) {
        std::size_t count = 0;
        for (std::size_t at = 0; (at = html.find("data-name=\"" + name + "\"", at)) != std::string::npos;
             ++at)
            ++count;
        return count;
    };
    CHECK(rows_of("vision_model") == 1);
    CHECK(rows_of("lm_head") == 1);
    CHECK(rows_of("pixel_values") == 0);
    CHECK(rows_of("vision_model.transformer.layers.0") == 0);
    CHECK(rows_of("language_model.layers.1.cross_attn.probs") == 1);
    CHECK_THAT(html, ContainsSubstring("viz heatmap " + other + " --minus " + meta + " --layer 1 --token "));
    CHECK(html.size() < 400'000);
    std::smatch begin, first;
    REQUIRE(std::regex_search(html, begin, std::regex("class=\"line\" d=\"M([0-9.]+) ")));
    REQUIRE(std::regex_search(html, first, std::regex("class=\"first\" x1=\"([0-9.]+)\"")));
    CHECK(std::stod(begin[1]) > 62.5);  // the edge, where the pixels are equal
    CHECK(std::stod(begin[1]) < std::stod(first[1]));
    const CommandResult result = trace({"diff", other, meta, "--json"});
    CHECK(result.exit_code == 1);
    const Json json = Json::parse(result.out);
    CHECK(json.at("first_different").at("name") == "vision_model");
    CHECK(json.at("first_different").at("verdict") == "fault");
    CHECK(json.at("causes").at(0).at("name") == "kept_states_off_by_one");
    CHECK(json.at("causes").at(0).at("before") > 1);
    CHECK(json.at("causes").at(0).at("after") < 1e-5);
    CHECK(json.at("faults").at(0).at("tested").size() > 3);
    CHECK(json.at("explained").at("faults") == 1);
    const CommandResult bare = trace({"diff", other, meta, "--json", "--no-explanation"});
    CHECK_FALSE(Json::parse(bare.out).contains("causes"));
    check_fine(trace({"diff", meta, meta, "--html", page.string(), "--model", "golden/checkpoints/base"}));
    CHECK_THAT(read_file(page), ContainsSubstring("No tensor differs"));
}
