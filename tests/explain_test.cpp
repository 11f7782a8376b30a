// What `trace diff` says about the reasons: faults told from what follows from them, causes tested on the numbers.
#include <algorithm>

#include "tests/catch.h"
#include "trace/explain/explain.h"

using namespace pictor;
namespace fs = std::filesystem;

namespace {

struct Explained {
    Trace a, b;
    Comparison comparison;
    Explanation explanation;

    Explained(const fs::path& left, const fs::path& right, const fs::path& model = {})
        : a(left), b(right)
    {
        CompareOptions options;
        options.policy = Policy(fs::path("golden/tolerances.json"));
        comparison = compare_traces(a, b, options);
        ExplainOptions explain_options;
        explain_options.model = model;
        explanation = explain(comparison, a, b, explain_options);
    }
    std::string name(const Fault& fault) const { return comparison.tensors[static_cast<std::size_t>(fault.index)].name; }
    std::string cause(std::size_t fault) const
    {
        const std::int64_t index = explanation.faults.at(fault).cause;
        return index < 0 ? "" : explanation.causes[static_cast<std::size_t>(index)].name;
    }
};

}  // namespace

TEST_CASE("explain: where the two references part, both faults are named and all else follows", "[explain]")
{
    for (const char* model : {"", "golden/checkpoints/base"}) {
        INFO("model: " << model);
        const Explained found("golden/cases/2x2/transformers", "golden/cases/2x2/meta", model);
        REQUIRE(found.explanation.faults.size() == 2);
        CHECK(found.name(found.explanation.faults[0]) == "vision_model");
        CHECK(found.cause(0) == "kept_states_off_by_one");
        CHECK(found.explanation.causes[0].before > 1);
        CHECK(found.explanation.causes[0].after < 1e-5);
        // Behind the kept states, which alone make every later tensor differ.
        CHECK(found.name(found.explanation.faults[1]) == "language_model.layers.1.cross_attn.o_proj");
        CHECK(found.cause(1) == "row_mask");
        CHECK(found.explanation.faults[1].also.size() == 1);  // layer 3
        CHECK(found.explanation.count(Verdict::unknown) == 0);
        CHECK(found.explanation.count(Verdict::fault) == 3);
        CHECK((found.explanation.count(Verdict::likely) == 0) == (*model != 0));
        CHECK(found.explanation.of_tensor.size() > 400);
    }
}

TEST_CASE("explain: several pictures, where generated tokens see none under Meta's rules", "[explain]")
{
    const Explained found("golden/cases/two_apart/transformers", "golden/cases/two_apart/meta", "golden/checkpoints/base");
    REQUIRE(found.explanation.faults.size() == 3);
    CHECK(found.cause(0) == "kept_states_off_by_one");
    CHECK(found.cause(1) == "row_mask");
    CHECK(found.cause(2) == "generated_tokens_with_several_images");
}

TEST_CASE("explain: rounding alone is no fault, however small the tolerance", "[explain]")
{
    const Trace a("golden/cases/text_only/transformers"), b("golden/cases/text_only/meta");
    CompareOptions options;
    options.policy = Policy(Tolerance{0, 0});
    Comparison comparison = compare_traces(a, b, options);
    const Explanation explanation = explain(comparison, a, b, {"golden/checkpoints/base"});
    CHECK(explanation.of_tensor.size() > 100);
    CHECK(explanation.faults.empty());
    CHECK(explanation.count(Verdict::explained) == static_cast<std::int64_t>(explanation.of_tensor.size()));
}
