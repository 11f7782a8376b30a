// The program `reference`: every command, every option, every exit code. reference_hostile_test.cpp has the
// broken input.
#include <algorithm>

#include "reference/checkpoint/load_tensors.h"
#include "tests/reference/golden_inputs.h"
#include "tests/reference/reference_runs.h"

namespace fs = std::filesystem;
using namespace pictor_test;
using Json = nlohmann::json;

namespace {

const std::string demo_answer =
    "I see a pink boat at the top, a black fish at the left and a red tree at the bottom right.\n";

}  // namespace

TEST_CASE("reference: help says what there is, with an example", "[command_line]")
{
    for (const std::string command : {"run", "forward", "tokenize", "preprocess", "inspect", "synthesize"}) {
        const CommandResult help = reference({command, "--help"});
        check_fine(help);
        CHECK(help.err.empty());
        CHECK_THAT(help.out, ContainsSubstring("Example: reference " + command));
    }
    const CommandResult help = reference({"--help"});
    check_fine(help);
    CHECK(help.err.empty());
    for (const std::string word :
         {"run", "forward", "tokenize", "preprocess", "inspect", "synthesize", "Example: reference "})
        CHECK_THAT(help.out, ContainsSubstring(word));
    const CommandResult run_help = reference({"run", "--help"});
    for (const std::string option :
         {"--model", "--image", "--prompt", "--raw", "--chat", "--max-new-tokens", "--temperature", "--top-p",
          "--top-k", "--seed", "--reference", "--threads", "--trace", "--trace-only", "--trace-values",
          "--trace-npy", "--force"})
        CHECK_THAT(run_help.out, ContainsSubstring(option));
}

TEST_CASE("reference: bad usage is exit 2 and one line on stderr", "[command_line]")
{
    const struct {
        Arguments arguments;
        std::string word;
    } cases[] = {
        {{}, "command"},
        {{"dream"}, "command"},
        {{"--dream"}, "command"},
        {{"run"}, "--prompt"},
        {{"synthesize"}, "--out"},
        {{"synthesize", "--preset", "7b", "--out", "x"}, "--preset"},
        {{"synthesize", "--layers", "1,1,1", "--out", "x"}, "--layers"},
        {{"synthesize", "--layers", "1,1,1,0", "--out", "x"}, "--layers"},
        {{"synthesize", "--slice", "--layers", "1,1,1,1", "--out", "x"}, "--layers"},
        {{"synthesize", "--slice", "--vocabulary", "0", "--out", "x"}, "--vocabulary"},
        {{"run", "--dream"}, "--dream"},
        {{"run", "--prompt"}, "--prompt"},
        {{"run", "--prompt", "a", "--prompt", "b"}, "--prompt"},
        {{"run", "--prompt", "a", "--image"}, "--image"},
        {{"run", "--prompt", "a", "--max-new-tokens", "-1"}, "--max-new-tokens"},
        {{"run", "--prompt", "a", "--max-new-tokens", "2.5"}, "--max-new-tokens"},
        {{"run", "--prompt", "a", "--max-new-tokens", "1000000000"}, "--max-new-tokens"},
        {{"run", "--prompt", "a", "--temperature", "-0.1"}, "--temperature"},
        {{"run", "--prompt", "a", "--temperature", "nan"}, "--temperature"},
        {{"run", "--prompt", "a", "--temperature", "inf"}, "--temperature"},
        {{"run", "--prompt", "a", "--temperature", "warm"}, "--temperature"},
        {{"run", "--prompt", "a", "--top-p", "1.5"}, "--top-p"},
        {{"run", "--prompt", "a", "--top-p", "nan"}, "--top-p"},
        {{"run", "--prompt", "a", "--top-k", "-3"}, "--top-k"},
        {{"run", "--prompt", "a", "--seed", "-1"}, "--seed"},
        {{"run", "--prompt", "a", "--seed", "18446744073709551616"}, "--seed"},
        {{"run", "--prompt", "a", "--seed", "abc"}, "--seed"},
        {{"run", "--prompt", "a", "--reference", "llama"}, "--reference"},
        {{"run", "--prompt", "a", "--reference", "0"}, "--reference"},
        {{"run", "--prompt", "a", "--threads", "0"}, "--threads"},
        {{"run", "--prompt", "a", "--threads", "5000"}, "--threads"},
        {{"run", "--prompt", "a", "--trace-npy"}, "--trace DIR"},
        {{"run", "--prompt", "a", "--trace-only", "*"}, "--trace DIR"},
        {{"run", "--prompt", "a", "--trace-values", "all"}, "--trace DIR"},
        {{"run", "--prompt", "a", "--force"}, "--trace DIR"},
        {{"run", "--prompt", "a", "--trace", "unmade", "--trace-values", "some"}, "--trace-values"},
        {{"run", "--chat", "--raw"}, "--raw"},
        {{"run", "--chat", "--trace", "unmade"}, "--trace"},
        {{"forward"}, "--inputs"},
        {{"forward", "--inputs", "a", "--greedy", "-1"}, "--greedy"},
        {{"forward", "--inputs", "a", "--prompt", "b"}, "--prompt"},
        {{"forward", "--inputs", "a", "--trace-npy"}, "--trace DIR"},
        {{"tokenize"}, "TEXT"},
        {{"tokenize", "a", "b"}, "b"},
        {{"tokenize", "a", "--file", "-"}, "--file"},
        {{"preprocess"}, "required"},
        {{"preprocess", "a", "b"}, "b"},
        {{"inspect", "a"}, "a"},
    };
    for (const auto& each : cases) {
        CAPTURE(each.arguments);
        check_refused(reference(each.arguments), "reference", {each.word});
    }
    CHECK_FALSE(fs::exists("unmade"));
}

TEST_CASE("reference run: the shipped model says what is in the demo picture", "[command_line]")
{
    const CommandResult answer = reference(
        {"run", "--image", images + "demo.png", "--prompt", "What is in this image?", "--reference", "meta"});
    check_fine(answer);
    CHECK(answer.out == demo_answer);
    CHECK(answer.err.empty());  // progress is for terminals only
}

TEST_CASE("reference run: a raw prompt's special tokens are honoured, a question's are not", "[command_line]")
{
    const std::string raw =
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat is your name?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n";
    const CommandResult asked = reference({"run", "--prompt", "What is your name?"});
    const CommandResult raw_asked = reference({"run", "--raw", "--prompt", raw});
    check_fine(asked);
    check_fine(raw_asked);
    CHECK(asked.out == "My name is Pictor.\n");
    CHECK(raw_asked.out == asked.out);

    const TalkingModel model;
    const TempFolder folder;
    const auto prompt_ids = [&](const std::string& name, const Arguments& more) {
        Arguments arguments{"run",
                            "--model",
                            model.path(),
                            "--max-new-tokens",
                            "0",
                            "--trace",
                            (folder.path / name).string(),
                            "--trace-values",
                            "none"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        check_fine(reference(arguments));
        return read_json(folder.path / name / "trace.json")
            .at("prompt")
            .at("token_ids")
            .get<std::vector<std::int64_t>>();
    };
    const auto images_of = [](const std::vector<std::int64_t>& ids) {
        return std::count(ids.begin(), ids.end(), 512);
    };
    CHECK(images_of(prompt_ids(
              "raw", {"--raw", "--prompt", "<|image|>What?", "--image", images + "tile.png"})) == 1);
    CHECK(images_of(prompt_ids("chat", {"--prompt", "<|image|>What?", "--image", images + "tile.png"})) ==
          1);  // the one the template puts
    CHECK(images_of(prompt_ids("text", {"--prompt", "<|image|>What?"})) == 0);
    check_refused(
        reference({"run", "--raw", "--prompt", "<|image|><|image|>What?", "--image", images + "tile.png"}),
        "reference", {"2 <|image|>", "1 picture"});
    check_refused(reference({"run", "--raw", "--prompt", "What?", "--image", images + "tile.png"}),
                  "reference", {"0 <|image|>", "1 picture"});
    check_refused(reference({"run", "--raw", "--prompt", "<|image|>What?"}), "reference",
                  {"1 <|image|>", "0 picture"});
    check_refused(reference({"run", "--prompt", "\xff\xfe"}), "reference", {"UTF-8"});
}

TEST_CASE("reference run --chat: one line is one turn", "[command_line]")
{
    const CommandResult answers =
        reference({"run", "--chat"}, {.input = "What is your name?\n\nWho are you?\n"});
    check_fine(answers);
    CHECK(answers.out == "My name is Pictor.\nI am Pictor, a tiny model.\n");
    const CommandResult first_given =
        reference({"run", "--chat", "--prompt", "What is your name?"}, {.input = "Who are you?"});
    check_fine(first_given);
    CHECK(first_given.out == answers.out);
    const CommandResult silent = reference({"run", "--chat"});
    check_fine(silent);
    CHECK(silent.out.empty());
}

TEST_CASE("reference run: sampling follows the seed, and is greedy without a temperature", "[command_line]")
{
    const TalkingModel model;
    const auto said = [&](const Arguments& more) {
        const CommandResult result = reference(talk(model, more));
        check_fine(result);
        return result.out;
    };
    const std::string greedy = said({});
    CHECK(said({"--seed", "9"}) == greedy);
    CHECK(said({"--temperature", "0"}) == greedy);
    const std::string sampled = said({"--temperature", "1", "--seed", "7"});
    CHECK(sampled != greedy);
    CHECK(said({"--temperature", "1", "--seed", "7"}) == sampled);
    CHECK(said({"--temperature", "1", "--seed", "18446744073709551615"}) != sampled);
    CHECK(said({"--temperature", "50", "--seed", "7"}) != sampled);
    CHECK(said({"--temperature", "1", "--seed", "7", "--top-k", "1"}) == greedy);
    CHECK(said({"--temperature", "1", "--seed", "7", "--top-p", "0.000001"}) == greedy);
    CHECK(said({"--temperature", "1", "--seed", "7", "--top-p", "1", "--top-k", "512"}) == sampled);
}

TEST_CASE("reference run: --max-new-tokens, several pictures, what the trace says of them", "[command_line]")
{
    const TalkingModel model;
    const TempFolder folder;
    const CommandResult nothing =
        reference({"run", "--model", model.path(), "--prompt", "a", "--max-new-tokens", "0"});
    check_fine(nothing);
    CHECK(nothing.out == "\n");

    const std::string trace_folder = (folder.path / "trace").string();
    const CommandResult one =
        reference({"run", "--model", model.path(), "--prompt", "a", "--image", images + "tile.png", "--image",
                   images + "row.png", "--max-new-tokens", "1", "--trace", trace_folder});
    check_fine(one);
    CHECK(one.err == "trace: " + trace_folder + "\n");
    const Json trace = read_json(folder.path / "trace/trace.json");
    CHECK(trace.at("generated").at("token_ids").size() == 1);
    CHECK(trace.at("generated").at("text").get<std::string>() + "\n" == one.out);
    CHECK(trace.at("steps").size() == 1);
    REQUIRE(trace.at("images").size() == 2);
    CHECK(trace.at("images")[0].at("file") == images + "tile.png");
    CHECK(trace.at("images")[1].at("file") == images + "row.png");
    CHECK_THAT(trace.at("prompt").at("text").get<std::string>(),
               ContainsSubstring("<|image|><|image|>a<|eot_id|>"));
    CHECK(trace.at("prompt").at("token_ids").size() == trace.at("prompt").at("token_texts").size());
    CHECK(entries_of(folder.path) == std::set<std::string>{"trace"});
}

TEST_CASE("reference: threads do not change a bit", "[command_line]")
{
    const TempFolder folder;
    for (const std::string threads : {"1", "2"})
        check_fine(
            reference(forward(case_inputs("2x2"), {"--threads", threads, "--greedy", "2", "--trace-npy",
                                                   "--trace", (folder.path / threads).string()})));
    const std::map<std::string, std::string> one = files_of(folder.path / "1");
    CHECK(one.size() > 100);
    CHECK(one == files_of(folder.path / "2"));
}

TEST_CASE("reference: which model, from any working directory", "[command_line]")
{
    const TempFolder elsewhere;
    const TalkingModel model;
    const auto inspected = [&](const Arguments& more, const std::string& variable) {
        Arguments arguments{"inspect", "--json"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        Surroundings surroundings{.folder = elsewhere.path};
        if (!variable.empty())
            surroundings.environment["PICTOR_MODEL"] = variable;
        const CommandResult result = reference(arguments, surroundings);
        check_fine(result);
        return fs::path(Json::parse(result.out).at("folder").get<std::string>());
    };
    CHECK(fs::equivalent(inspected({}, ""), "models/pictor"));
    CHECK(fs::equivalent(inspected({}, model.path()), model.path()));
    CHECK(fs::equivalent(inspected({"--model", fs::absolute(base).string()}, model.path()), base));
    check_refused(reference({"tokenize", "a"}, {.environment = {{"PICTOR_MODEL", "/nowhere/at/all"}}}),
                  "reference", {"/nowhere/at/all"});
    const CommandResult answer =
        reference({"run", "--prompt", "What is your name?"}, {.folder = elsewhere.path});
    check_fine(answer);
    CHECK(answer.out == "My name is Pictor.\n");
    CHECK(entries_of(elsewhere.path).empty());
}

TEST_CASE("reference tokenize: an argument, a file, standard input", "[command_line]")
{
    const CommandResult one = reference({"tokenize", "a b"});
    check_fine(one);
    CHECK(Json::parse(one.out) == Json{{"ids", {64, 264}}, {"pieces", {"a", " b"}}});
    const CommandResult empty = reference({"tokenize", ""});
    check_fine(empty);
    CHECK(Json::parse(empty.out) == Json{{"ids", Json::array()}, {"pieces", Json::array()}});

    const std::string lines = "a b\n\n<|eot_id|>\nlast";
    const auto ids_of = [](const CommandResult& result) {
        check_fine(result);
        std::vector<Json> ids;
        std::istringstream text(result.out);
        for (std::string line; std::getline(text, line);)
            ids.push_back(Json::parse(line).at("ids"));
        return ids;
    };
    const std::vector<Json> plain = ids_of(reference({"tokenize", "--file", "-"}, {.input = lines}));
    REQUIRE(plain.size() == 4);
    CHECK(plain[0] == Json{64, 264});
    CHECK(plain[1].empty());
    CHECK(plain[2].size() > 1);
    const std::vector<Json> special =
        ids_of(reference({"tokenize", "--special", "--file", "-"}, {.input = lines}));
    REQUIRE(special.size() == 4);
    CHECK(special[2].size() == 1);

    const TempFolder folder;
    write_file(folder.path / "lines", lines);
    CHECK(ids_of(reference({"tokenize", "--tokenizer", "models/pictor/tokenizer.json", "--file",
                            (folder.path / "lines").string()})) == plain);
    check_refused(reference({"tokenize", "--file", (folder.path / "none").string()}), "reference", {"none"});
    check_refused(reference({"tokenize", "--file", folder.path.string()}), "reference",
                  {folder.path.string()});
    check_refused(reference({"tokenize", "--tokenizer", (folder.path / "none.json").string(), "a"}),
                  "reference", {"none.json"});
    check_refused(reference({"tokenize", "\xc3("}), "reference", {"UTF-8"});
}

TEST_CASE("reference preprocess: JSON, and tiles in a file", "[command_line]")
{
    const TempFolder folder;
    const fs::path output = folder.path / "tiles.safetensors";
    const CommandResult odd = reference({"preprocess", images + "odd.png", "--output", output.string()});
    check_fine(odd);
    CHECK(Json::parse(odd.out) == Json{{"size", {173, 301}},
                                       {"resized", {128, 224}},
                                       {"tiles", {2, 2}},
                                       {"tile_size", 112},
                                       {"patch_size", 14},
                                       {"aspect_ratio_id", 6}});
    const CommandResult row =
        reference({"preprocess", images + "row.png", "--output", output.string()});  // replaces the file
    check_fine(row);
    CHECK(Json::parse(row.out).at("tiles") == Json{1, 4});
    const pictor::SafetensorsFile file(output);
    CHECK(file.tensors().size() == 3);
    CHECK(load_floats(file, "pixel_values", {4, 3, 112, 112}).values.size() == 4 * 3 * 112 * 112);
    CHECK(load_integers(file, "aspect_ratio_ids", {1}) ==
          std::vector<std::int64_t>{Json::parse(row.out).at("aspect_ratio_id").get<std::int64_t>()});
    CHECK(load_integers(file, "aspect_ratio_mask", {4}) == std::vector<std::int64_t>{1, 1, 1, 1});
    check_fine(reference({"preprocess", "--model", base, images + "tile.png"}));
    check_refused(reference({"preprocess", images + "odd.png", "--output",
                             (folder.path / "none/tiles.safetensors").string()}),
                  "reference", {"none/tiles.safetensors"});
    CHECK(entries_of(folder.path) == std::set<std::string>{"tiles.safetensors"});
}

TEST_CASE("reference forward: exact tensors in, golden tokens out", "[command_line]")
{
    const TempFolder folder;
    const GoldenCase golden = golden_case("2x2");
    for (const std::string rule : {"meta", "transformers"}) {
        const fs::path trace_folder = folder.path / rule;
        const CommandResult result =
            reference(forward(case_inputs("2x2"), {"--greedy", "5", "--reference", rule, "--trace",
                                                   trace_folder.string(), "--trace-values", "none"}));
        check_fine(result);
        const Json trace = read_json(trace_folder / "trace.json");
        CHECK(trace.at("generated").at("token_ids") == Json(golden.generated(rule)));
        CHECK(Json::parse(result.out).at("generated").at("token_ids") == Json(golden.generated(rule)));
        CHECK(trace.at("reference") == rule);
        CHECK(trace.at("steps").size() == 5);
        CHECK(trace.at("images")[0].at("tiles") == Json{2, 2});
        CHECK(entries_of(trace_folder / "tensors").empty());
    }
    const CommandResult silent = reference(forward(case_inputs("text_only"), {}));
    check_fine(silent);
    CHECK(Json::parse(silent.out) == Json{{"generated", {{"token_ids", Json::array()}}}});
}

TEST_CASE("reference inspect: what a checkpoint is made of", "[command_line]")
{
    const CommandResult text = reference({"inspect"});
    check_fine(text);
    CHECK_THAT(text.out, ContainsSubstring("2893195"));
    const CommandResult json = reference({"inspect", "--json", "--model", base});
    check_fine(json);
    CHECK(Json::parse(json.out).at("complete") == true);
}

TEST_CASE("reference: the fast and the debug build agree within the measured noise", "[command_line]")
{
    for (const std::string build : {"build", "build/debug"})
        if (!fs::exists(fs::path(build) / "reference")) {
            WARN(build + "/reference is not built: the two builds are not compared");
            return;
        }
    const TempFolder folder;
    for (const std::string name : {"2x2", "text_only"}) {
        for (const std::string build : {"build", "build/debug"}) {
            const CommandResult result =
                run_command((fs::absolute(build) / "reference").string(),
                            forward(case_inputs(name), {"--greedy", "3", "--trace-values", "all", "--trace",
                                                        (folder.path / name / build).string()}));
            check_fine(result);
        }
        const CommandResult diff =
            trace({"diff", (folder.path / name / "build").string(),
                   (folder.path / name / "build/debug").string(), "--policy", "golden/tolerances.json"});
        check_fine(diff);
        CHECK_THAT(diff.out, ContainsSubstring(" 0 differ"));
    }
}
