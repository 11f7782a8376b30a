#include "reference/generate.h"

#include <limits>

#include "tests/catch.h"
#include "tests/reference/golden_inputs.h"
#include "tests/trace/recorded_run.h"

using namespace pictor;
using namespace pictor_test;

namespace {

using Ids = std::vector<std::int64_t>;

struct Setup {
    GoldenCase golden = golden_case("2x2");
    Model model;
    GenerateInputs inputs;

    explicit Setup(Rule rule = Rule::meta)
        : model(load_model(golden.checkpoint(), rule)), inputs(golden_inputs(golden, model.config))
    {
    }

    Ids run(const GenerateOptions& options, TraceWriter* writer = nullptr) const
    {
        Ids told;
        const Ids returned =
            generate(model, inputs, options, writer, [&](std::int64_t id) { told.push_back(id); });
        CHECK(told == returned);
        return returned;
    }
};

}  // namespace

TEST_CASE("generate goes on for as many tokens as asked", "[generate]")
{
    const Setup setup;
    const Ids five = setup.golden.generated("meta");
    REQUIRE(five.size() == 5);
    CHECK(setup.run(greedy(5)) == five);
    CHECK(setup.run(greedy(3)) == Ids(five.begin(), five.begin() + 3));
    CHECK(setup.run(greedy(0)).empty());
}

TEST_CASE("an end token is the last id returned, unless told otherwise", "[generate]")
{
    Setup setup;
    const Ids five = setup.golden.generated("meta");
    REQUIRE(five[2] != five[0]);
    REQUIRE(five[2] != five[1]);
    setup.model.config.end_tokens = {1000, five[2]};
    GenerateOptions options = greedy(5);
    CHECK(setup.run(options) == five);
    options.stop_at_end_token = true;
    CHECK(setup.run(options) == Ids(five.begin(), five.begin() + 3));
}

TEST_CASE("each step is recorded, the last token is not run", "[generate]")
{
    const Setup setup;
    const RecordedRun run([&](TraceWriter& writer) { setup.run(greedy(3), &writer); }, TraceValues::all,
                          {"input_ids", "lm_head", "cross_attention_mask"});
    const std::int64_t n_prompt = static_cast<std::int64_t>(setup.inputs.token_ids.size());
    const std::vector<TraceStep>& steps = run.trace().steps();
    REQUIRE(steps.size() == 3);
    CHECK(steps[0].kind == "prefill");
    CHECK(steps[0].first_token == 0);
    CHECK(steps[0].token_count == n_prompt);
    for (std::size_t step = 1; step < 3; ++step) {
        CHECK(steps[step].kind == "decode");
        CHECK(steps[step].first_token == n_prompt + static_cast<std::int64_t>(step) - 1);
        CHECK(steps[step].token_count == 1);
        CHECK(run.tensor("input_ids", static_cast<std::int64_t>(step)).values[0] ==
              static_cast<float>(setup.golden.generated("meta")[step - 1]));
    }
    const RecordedRun prompt_only([&](TraceWriter& writer) { setup.run(greedy(0), &writer); },
                                  TraceValues::none);
    CHECK(prompt_only.trace().steps().size() == 1);
}

TEST_CASE("recording changes no generated token", "[generate]")
{
    const Setup setup(Rule::transformers);
    GenerateOptions options = greedy(5);
    options.sampling.temperature = 3.0f;  // many words nearly as likely: a changed bit would soon change one
    options.sampling.seed = 5;
    const Ids silent = setup.run(options);
    const auto check = [&](TraceValues values, const std::vector<std::string>& only) {
        Ids recorded;
        const RecordedRun run([&](TraceWriter& writer) { recorded = setup.run(options, &writer); }, values,
                              only);
        CHECK(recorded == silent);
    };
    check(TraceValues::all, {});
    check(TraceValues::sample, {});
    check(TraceValues::none, {});
    check(TraceValues::all, {"lm_head"});
}

TEST_CASE("sampling follows its seed", "[generate]")
{
    const Setup setup;
    GenerateOptions options = greedy(12);
    options.sampling.temperature = 4.0f;
    options.sampling.seed = 1;
    const Ids first = setup.run(options);
    CHECK(setup.run(options) == first);
    options.sampling.seed = 2;
    CHECK(setup.run(options) != first);
    options.sampling.top_k = 1;  // one word to choose from: greedy again
    const Ids greedy_ids = setup.run(options), five = setup.golden.generated("meta");
    CHECK(Ids(greedy_ids.begin(), greedy_ids.begin() + 5) == five);
}

TEST_CASE("generation ends where the positions end", "[generate]")
{
    Setup setup;
    setup.model.config.text.max_positions = static_cast<std::int64_t>(setup.inputs.token_ids.size()) + 2;
    CHECK(setup.run(greedy(50)).size() == 3);  // two are run, the third needs no position
    setup.model.config.text.max_positions = 4;
    CHECK_THROWS_WITH(setup.run(greedy(5)), ContainsSubstring("4 positions"));
}

TEST_CASE("inputs that do not fit are refused", "[generate]")
{
    Setup setup;
    setup.inputs.token_ids[3] = 104;
    CHECK_THROWS_WITH(setup.run(greedy(1)), ContainsSubstring("104"));
    setup.inputs.token_ids.clear();
    CHECK_THROWS_WITH(setup.run(greedy(1)), ContainsSubstring("no tokens"));
}

TEST_CASE("NaN logits are an error, and the trace is complete up to there", "[generate]")
{
    Setup setup;
    setup.model.weights.text.norm(5) = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_WITH(setup.run(greedy(4)), ContainsSubstring("NaN") && ContainsSubstring("--trace"));

    const TempFolder folder;
    TraceOptions options;
    options.folder = folder.path / "trace";
    options.values = TraceValues::all;
    TraceWriter writer(options);
    CHECK_THROWS_WITH(setup.run(greedy(4), &writer),
                      ContainsSubstring("NaN") && ContainsSubstring("complete"));
    const Trace trace(options.folder);
    REQUIRE(trace.find("lm_head") != nullptr);
    CHECK(trace.find("lm_head")->statistics.nonfinite > 0);
    CHECK(trace.find("language_model.layers.4")->statistics.nonfinite == 0);
}
