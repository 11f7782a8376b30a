// `reference run` and `forward` with --trace: which tensors are recorded, and what becomes of folders that
// exist.
#include "tests/reference/golden_inputs.h"
#include "tests/reference/reference_runs.h"

namespace fs = std::filesystem;
using namespace pictor_test;
using Json = nlohmann::json;

TEST_CASE("reference --trace: which tensors, how many of their values", "[command_line]")
{
    const TempFolder folder;
    const auto traced = [&](const std::string& name, const Arguments& more) {
        Arguments arguments{"--trace", (folder.path / name).string()};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const CommandResult result = reference(forward(case_inputs("1x1"), arguments));
        check_fine(result);
        return std::pair(read_json(folder.path / name / "trace.json").at("tensors"), result.err);
    };
    const auto [only, only_err] = traced("only", {"--trace-only", "*.cross_attn.probs", "--trace-only",
                                                  "lm_hea?", "--trace-only", "misspelt.*"});
    CHECK(only.size() == 3);
    CHECK_THAT(only_err, ContainsSubstring("'misspelt.*' matched no tensor"));
    CHECK_THAT(only_err, !ContainsSubstring("lm_hea?"));
    CHECK(entries_of(folder.path / "only/tensors") ==
          std::set<std::string>{"000-language_model.layers.1.cross_attn.probs.json",
                                "000-language_model.layers.3.cross_attn.probs.json", "000-lm_head.json"});
    const auto [all, all_err] = traced("all", {"--trace-values", "all"});
    const auto [sample, sample_err] = traced("sample", {"--trace-values", "sample"});
    const auto [none, none_err] = traced("none", {"--trace-values", "none", "--trace-npy"});
    CHECK(all.size() > 100);
    CHECK(all == sample);  // no tensor of this model is large enough for a sample
    REQUIRE(none.size() == all.size());
    CHECK(entries_of(folder.path / "none/tensors").size() == none.size());
    for (const Json& entry : none) {
        CHECK(entry.at("values") == "none");
        CHECK_FALSE(entry.contains("file"));
        CHECK(fs::exists(folder.path / "none" / entry.at("npy").get<std::string>()));
    }
    CHECK(entries_of(folder.path) == std::set<std::string>{"only", "all", "sample", "none"});
}

TEST_CASE("reference --trace: no folder is lost", "[command_line]")
{
    const TempFolder folder;
    const fs::path trace_folder = folder.path / "trace";
    const Arguments options{"--trace", trace_folder.string(), "--trace-only", "lm_head"};
    check_fine(reference(forward(case_inputs("1x1"), options)));
    const std::map<std::string, std::string> before = files_of(trace_folder);
    check_refused(reference(forward(case_inputs("2x2"), options)), "reference",
                  {trace_folder.string(), "exists already", "--force"});
    CHECK(files_of(trace_folder) == before);

    Arguments forced = options;
    forced.push_back("--force");
    write_file(folder.path / "broken.safetensors", "broken");
    check_refused(reference(forward(folder.path / "broken.safetensors", forced)), "reference",
                  {"broken.safetensors"});
    CHECK(files_of(trace_folder) == before);  // a run that fails replaces nothing
    check_fine(reference(forward(case_inputs("2x2"), forced)));
    CHECK(files_of(trace_folder).size() == 2);
    CHECK(files_of(trace_folder) != before);

    write_file(trace_folder / "note", "mine");  // no part of a trace: --force does not destroy it
    check_refused(reference(forward(case_inputs("1x1"), forced)), "reference", {"holds 'note'"});
    CHECK(read_file(trace_folder / "note") == "mine");
    fs::create_directory(folder.path / "photos");
    write_file(folder.path / "photos/holiday", "mine");
    check_refused(
        reference(forward(case_inputs("1x1"), {"--trace", (folder.path / "photos").string(), "--force"})),
        "reference", {"not a trace"});
    check_refused(reference(forward(case_inputs("1x1"),
                                    {"--trace", (folder.path / "photos/holiday").string(), "--force"})),
                  "reference", {"file of this name"});
    check_refused(
        reference(forward(case_inputs("1x1"), {"--trace", (folder.path / "photos/holiday/trace").string()})),
        "reference", {"cannot be made"});
    check_refused(reference(forward(case_inputs("1x1"), {"--trace", ""})), "reference", {"--trace"});
    CHECK(files_of(folder.path / "photos") == std::map<std::string, std::string>{{"holiday", "mine"}});
    CHECK(entries_of(folder.path) == std::set<std::string>{"broken.safetensors", "photos", "trace"});
}
