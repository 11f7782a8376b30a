// What three programs say of a command line they do not understand, and of a file that is no picture.
#include "base/command_line.h"

#include "tests/catch.h"
#include "tests/run_command.h"

using namespace pictor_test;
using pictor::nearest_word;

TEST_CASE("command line: the nearest word, or none", "[command_line]")
{
    const std::vector<std::string> options{"--image",          "--prompt", "--raw",
                                           "--max-new-tokens", "--trace",  "--trace-only"};
    CHECK(nearest_word("--imgae", options) == "--image");
    CHECK(nearest_word("--promt", options) == "--prompt");
    CHECK(nearest_word("--PROMPT", options) == "--prompt");
    CHECK(nearest_word("-prompt", options) == "--prompt");
    CHECK(nearest_word("--trace-onyl", options) == "--trace-only");
    CHECK(nearest_word("--max-tokens", options) == "--max-new-tokens");
    CHECK(nearest_word("--dream", options).empty());
    CHECK(nearest_word("--x", options).empty());
    CHECK(nearest_word("--", options).empty());
    CHECK(nearest_word("", options).empty());
    CHECK(nearest_word("--image", {}).empty());
}

TEST_CASE("command line: all three programs name the nearest command and option", "[command_line]")
{
    const struct {
        const char* program;
        Arguments arguments;
        std::string message;
    } cases[] = {
        {"reference", {"rn", "--prompt", "a"}, "rn: no command; reference run would be right"},
        {"reference", {"run", "--promt", "a"}, "--promt: no option of run; --prompt would be right"},
        {"reference",
         {"run", "--imgae=x", "--prompt", "a"},
         "--imgae: no option of run; --image would be right"},
        {"reference", {"--prompt", "a"}, "--prompt: no option; a command comes first, here run"},
        {"reference", {"forward", "--image", "x"}, "--image: no option of forward but of run;"},
        {"reference",
         {"forward", "--inptus", "x"},
         "--inptus: no option of forward; --inputs would be right"},
        {"reference",
         {"dream"},
         "dream: no command; run, forward, tokenize, preprocess, inspect or synthesize would be right"},
        {"trace", {"shwo", "x"}, "shwo: no command; trace show would be right"},
        {"trace", {"show", "x", "--stpe", "1"}, "--stpe: no option of show; --step would be right"},
        {"trace", {}, "no command is given; show, why, diff, check or convert would be right"},
        {"trace", {"show", "a", "b", "c"}, "c: one argument too many; trace show --help"},
        {"viz", {"haetmap", "x"}, "haetmap: no command; viz heatmap would be right"},
        {"viz", {"heatmap", "x", "--layers", "3"}, "--layers: no option of heatmap; --layer would be right"},
    };
    for (const auto& c : cases)
        check_refused(run_command(c.program, c.arguments), c.program, {c.message});
    // What a stranger typed must not steer the terminal.
    const CommandResult hostile = run_command("trace", {"\x1b[31mshow"});
    check_refused(hostile, "trace", {"no command"});
    CHECK(hostile.err.find('\x1b') == std::string::npos);
}
