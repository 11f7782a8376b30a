// `trace why`: each number taken apart must come back together.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "tests/catch.h"
#include "tests/run_command.h"
#include "tests/trace/explain_fixture.h"
#include "trace/why/sums.h"

using namespace pictor;
using namespace pictor_test;
using nlohmann::json;

namespace {

// Every term told, together what was recorded.
void check_sum(const Answer& answer)
{
    INFO(ask_text(answer.ask) << " step " << answer.ask.step << ": " << answer.value << " against "
                              << answer.computed << " " << answer.untold);
    REQUIRE(answer.untold.empty());
    double sum = answer.others;
    for (const Term& term : answer.terms) {
        sum += term.value;
        CHECK(!term.text.empty());
    }
    CHECK(std::fabs(sum - answer.total) <= 1e-9 * (1 + std::fabs(answer.total)));
    CHECK(std::fabs(answer.computed - answer.value) <= answer.floor);
    CHECK(answer.floor <= 2e-4 * (1 + std::fabs(answer.value)));  // noise, not slack
    if (answer.total_is.empty())
        CHECK(answer.computed == answer.total);
}

// Numbers spread over a tensor.
std::vector<std::int64_t> some_positions(std::int64_t size)
{
    std::vector<std::int64_t> positions;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(size, 7); ++i)
        positions.push_back((size - 1) * i / 6);
    return positions;
}

// Kinds of step whose every number adds up; of the others the reason.
std::set<const Operation*> explained_kinds(const std::string& folder, const std::string& model)
{
    const Trace trace(folder);
    const ModelWeights weights(model);
    const WhyRun run(trace, &weights);
    std::set<const Operation*> kinds;
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step > 2)
            break;
        bool told = true;
        for (const std::int64_t position : some_positions(entry.size())) {
            const Answer answer =
                answer_why(run, {entry.name, entry.step, unravel(position, entry.shape), {}, ""}, 1);
            // Most golden traces hold the states between the layers alone.
            if (answer.untold.find("not in the trace") != std::string::npos)
                told = false;
            else
                check_sum(answer);
        }
        if (!told)
            continue;
        kinds.insert(run.side(entry.step).operation_of(entry.name));
    }
    return kinds;
}

// "TRACE NAME[INDEX] --option ...", apart at the blanks.
CommandResult why(const std::string& arguments)
{
    Arguments words{"why"};
    std::istringstream text(arguments);
    for (std::string word; text >> word;)
        words.push_back(word);
    return run_command("trace", words);
}

}  // namespace

TEST_CASE("every kind of number in the graph adds up from its terms", "[why]")
{
    std::set<const Operation*> kinds = explained_kinds("golden/cases/2x2/meta", base_checkpoint);
    kinds.merge(explained_kinds("golden/cases/text_before/meta", base_checkpoint));  // rows that see nothing
    kinds.merge(explained_kinds("golden/cases/text_only/transformers", base_checkpoint));
    kinds.erase(nullptr);
    CHECK(kinds.size() == operations().size());
}

TEST_CASE("every step of the graph can be taken apart", "[why]")
{
    for (const Operation& operation : operations()) {
        INFO(operation.name << " in " << operation.where);
        CHECK(sum_of(operation) != nullptr);
    }
}

TEST_CASE("a logit followed back: each level adds up to the term it explains", "[why]")
{
    const Trace trace("golden/cases/2x2/meta");
    const ModelWeights weights(base_checkpoint);
    const WhyRun run(trace, &weights);
    const Answer answer = answer_why(run, parse_ask(run, "lm_head[-1]", 0), 5);
    std::size_t levels = 0;
    for (const Answer* at = &answer; at; at = at->behind.get(), ++levels) {
        check_sum(*at);
        if (at->behind && at->total_is.empty() && at->behind->ask.direction.size() > 0)
            CHECK(std::fabs(at->terms[0].value - at->behind->value) <
                  1e-6 * (1 + std::fabs(at->terms[0].value)));
    }
    CHECK(levels > 2);
    const json generated = trace.header().at("generated").at("token_ids");
    CHECK(answer.ask.indices.back() == generated[0].get<std::int64_t>());  // the likeliest word was chosen
}

TEST_CASE("without weights, what the trace alone can tell is told, and the rest says what it takes", "[why]")
{
    const Trace trace("golden/cases/2x2/meta");
    const WhyRun run(trace, nullptr);
    std::size_t told = 0;
    std::set<std::string> not_told;
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step > 0)
            break;
        const Answer answer =
            answer_why(run, {entry.name, 0, unravel(entry.size() / 2, entry.shape), {}, ""}, 1);
        if (answer.untold.empty()) {
            check_sum(answer);
            ++told;
        } else {
            CHECK(answer.untold.find("--model DIR") != std::string::npos);
            const std::string leaf = split_name(entry.name).leaf;
            not_told.insert(leaf.empty() ? entry.name : leaf);
        }
    }
    CHECK(told > 140);
    for (const std::string& name : not_told) {
        INFO(name);
        CHECK((name.ends_with("_proj") || name == "mlp" || name == "mlp.fc1" || name == "lm_head" ||
               name == "multi_modal_projector" || name == "vision_model.patch_embedding"));
    }
}

TEST_CASE("a number that its inputs do not make is called out", "[why]")
{
    const TemporaryFolder folder;
    const std::string name = "language_model.layers.0.residual";
    Values wrong = golden_values(name);
    wrong[0] += 1;
    write_part(folder / "run", {},
               {name, "language_model.embed_tokens", "language_model.layers.0.self_attn.o_proj"},
               {{{name, 0}, wrong}});
    const CommandResult result = why((folder / "run").string() + " " + name + "[0,0]");
    CHECK(result.exit_code == 0);
    CHECK(result.out.find("WAS RECORDED") != std::string::npos);
    CHECK(why((folder / "run").string() + " " + name + "[1,0]").out.find("WAS RECORDED") ==
          std::string::npos);
}

TEST_CASE("the command answers in words, on one screen", "[why][command_line]")
{
    const std::string golden = "golden/cases/2x2/meta";
    const CommandResult head =
        why(golden + " language_model.layers.1.cross_attn.o_proj[7,3] --model " + base_checkpoint);
    INFO(head.out << head.err);
    CHECK(head.exit_code == 0);
    CHECK(std::count(head.out.begin(), head.out.end(), '\n') <= 24);
    CHECK(head.out.find("from patch row ") != std::string::npos);
    CHECK(head.out.find(" through head ") != std::string::npos);
    CHECK(head.out.find("14-cross-attention") != std::string::npos);
    const CommandResult probability = why(golden + " language_model.layers.0.self_attn.probs[0,-1]");
    CHECK(probability.exit_code == 0);
    CHECK(probability.out.find("competes in the softmax over 11 keys") != std::string::npos);
    CHECK(probability.out.find("token ") != std::string::npos);
    const CommandResult deep = why(golden + " lm_head[-1] --depth 3 --model " + base_checkpoint);
    CHECK(deep.exit_code == 0);
    CHECK(std::count(deep.out.begin(), deep.out.end(), '\n') <= 44);
    const json answer =
        json::parse(why(golden + " lm_head[-1] --json --depth 2 --model " + base_checkpoint).out);
    CHECK(answer.at("behind").at("terms").size() > 2);
    const CommandResult word = why("golden/cases/2x2/meta nothing");
    CHECK(word.err.find("has no tensor nothing") != std::string::npos);
    CHECK(why("--help").out.find("Example: trace why") != std::string::npos);
}

TEST_CASE("what cannot be asked or told ends with 2 and a sentence", "[why][command_line]")
{
    const std::string golden = "golden/cases/2x2/meta";
    for (const auto& [arguments, words] :
         {std::pair(golden + " lm_head[-1]", "give --model DIR"),
          std::pair(golden + " lm_heat[-1]", "has no tensor lm_heat"),
          std::pair(golden + " lm_head[99,0]", "outside an axis"),
          std::pair(golden + " lm_head[0] --step 77", "has no step 77"),
          std::pair(golden + " lm_head[0] --depth 0", "--depth"),
          std::pair(golden + " lm_head[0] --model golden/checkpoints/own_tiles", "is not the model of"),
          std::pair(golden + " lm_head[0] --model golden", "no .safetensors"),
          std::pair(std::string("golden lm_head[0]"), "trace.json")}) {
        const CommandResult result = why(arguments);
        INFO(arguments << "\n" << result.out << result.err);
        CHECK(result.exit_code == 2);
        CHECK(result.err.find(words) != std::string::npos);
    }
}

TEST_CASE("the page of an answer holds its terms and nothing that loads", "[why]")
{
    const TemporaryFolder folder;
    const std::string page = (folder / "why.html").string();
    CHECK(
        why("golden/cases/2x2/meta language_model.layers.0.self_attn.probs[1,-1] --html " + page).exit_code ==
        0);
    std::ifstream file(page);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    CHECK(text.find("What competes") != std::string::npos);
    CHECK(text.find("default-src 'none'") != std::string::npos);
    CHECK(text.find("http://") == std::string::npos);
    CHECK(text.find("<script") == std::string::npos);
}

TEST_CASE("why: traces whose shapes do not go together are refused, each with a reason", "[why][hostile]")
{
    const Trace golden("golden/cases/2x2/meta");
    const ModelWeights weights(base_checkpoint);
    std::size_t told = 0, refused = 0;
    // Every tensor in turn has another shape: as many numbers, in other rows.
    for (const TraceEntry& entry : golden.entries()) {
        const NameParts parts = split_name(entry.name);
        if (entry.step > 0 || (parts.layer > 1 && !parts.module.empty()))
            continue;
        const TemporaryFolder folder;
        TraceOptions options;
        options.folder = folder / "run";
        TraceWriter writer(options);
        for (const char* key : {"reference", "model", "prompt", "images"})
            writer.describe(key, golden.header().at(key));
        writer.begin_step("prefill", 0, 11);
        const Recorder record = writer.recorder();
        std::vector<const TraceEntry*> around;
        for (const TraceEntry& other : golden.entries())
            if (other.step == 0 &&
                (split_name(other.name).module == parts.module || split_name(other.name).module.empty()))
                around.push_back(&other);
        for (const TraceEntry* other : around) {
            const Values values = golden.load(*other).values;
            std::vector<std::int64_t> shape = other->shape;
            if (other->name == entry.name)
                std::swap(shape.front(), shape.back());
            if (other->dtype == "I64")
                record.integers(other->name, axes_of(*other),
                                std::vector<std::int64_t>(values.begin(), values.end()), shape);
            else
                record(other->name, axes_of(*other), {values.data(), shape});
        }
        writer.finish();
        const Trace odd(folder / "run");
        const WhyRun run(odd, &weights);
        for (const TraceEntry& other : odd.entries())
            for (const std::int64_t position : {std::int64_t{0}, other.size() - 1}) {
                const Answer answer =
                    answer_why(run, {other.name, 0, unravel(position, other.shape), {}, ""}, 2);
                ++(answer.untold.empty() ? told : refused);
            }
    }
    CHECK(told > 1000);
    CHECK(refused > 100);
}

TEST_CASE("why: the largest terms come first, the rest is one", "[why]")
{
    std::vector<double> values;
    for (int i = 1; i <= 20; ++i)
        values.push_back(i < 20 ? i : -i);
    Answer answer;
    take_terms(answer, values, [](std::size_t i) -> Term {
        return {0, "term " + std::to_string(i), "", std::nullopt};
    });
    REQUIRE(answer.terms.size() == 10);
    CHECK(answer.terms.front().text == "term 19");
    CHECK(answer.terms.front().value == -20);
    CHECK(answer.terms.back().value == 11);
    CHECK(answer.n_others == 10);
    CHECK(answer.others == 55);
    CHECK(answer.total == 170);
}

TEST_CASE("why: what comes from a trace is text on the page", "[why]")
{
    Answer answer;
    answer.ask.name = "<b>name";
    answer.place = "<b>place";
    answer.notes = {"<b>note"};
    answer.terms = {{1, "<b>term", "<b>how", std::nullopt}};
    const std::string page = answer_page(answer, "<b>trace");
    CHECK(page.find("<b>") == std::string::npos);
    for (const char* word : {"name", "place", "note", "term", "how", "trace"})
        CHECK(page.find("&lt;b&gt;" + std::string(word)) != std::string::npos);
    CHECK(page.find("default-src 'none'") != std::string::npos);
}
