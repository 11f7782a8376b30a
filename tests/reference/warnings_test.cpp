// Warnings: once, on standard error, and nothing else changes.
#include "reference/warnings.h"

#include "tests/reference/reference_runs.h"

using namespace pictor_test;
using namespace pictor;

namespace {

std::size_t count_of(const std::string& text, const std::string& part)
{
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
        ++count;
    return count;
}

}  // namespace

TEST_CASE("warnings: a question about a picture that is not there", "[warnings]")
{
    for (const char* question : {"What is in this image?", "Describe THE PICTURE.", "what's in my photo",
                                 "Compare these images", "Look at the\nscreenshot!"})
        CHECK(!missing_picture_warning(question, 0).empty());
    for (const char* question : {"What is your name?", "What is an image?", "image", "", "Is imagery art?"})
        CHECK(missing_picture_warning(question, 0).empty());
    CHECK(missing_picture_warning("What is in this image?", 1).empty());
}

TEST_CASE("warnings: several pictures blind generated words under Meta's rule alone", "[warnings]")
{
    CHECK(!blind_words_warning(2, Rule::meta, 128).empty());
    CHECK(blind_words_warning(1, Rule::meta, 128).empty());
    CHECK(blind_words_warning(2, Rule::transformers, 128).empty());
    CHECK(blind_words_warning(2, Rule::meta, 1).empty());  // its only row is the prompt's last
}

TEST_CASE("warnings: a chat that outgrows the training", "[warnings]")
{
    ModelConfig config;
    config.text.max_positions = 1000;
    CHECK(long_chat_warning(500, 999, config).empty());  // nobody says how many turns it was trained on
    CHECK(!long_chat_warning(1, 1000, config).empty());
    config.trained_turns = 8;
    CHECK(long_chat_warning(8, 100, config).empty());
    CHECK_THAT(long_chat_warning(9, 100, config),
               ContainsSubstring("turn 9") && ContainsSubstring("8 turns"));
    CHECK(read_config("models/pictor").trained_turns == 8);
}

TEST_CASE("warnings: on standard error, once, with exit code and answer as ever", "[warnings]")
{
    const CommandResult blind = reference({"run", "--prompt", "What is in this image?"});
    check_fine(blind);
    CHECK(blind.out == "Show me a picture first.\n");
    CHECK(count_of(blind.err, "warning: ") == 1);
    CHECK_THAT(blind.err, ContainsSubstring("\"this image\""));

    const Arguments two{"run",
                        "--image",
                        images + "demo.png",
                        "--image",
                        images + "row.png",
                        "--prompt",
                        "What is in this image?"};
    const CommandResult meta = reference(two);
    check_fine(meta);
    CHECK(count_of(meta.err, "2 pictures under Meta's rule") == 1);
    Arguments theirs = two;
    theirs.insert(theirs.end(), {"--reference", "transformers"});
    CHECK(reference(theirs).err.empty());
    CHECK(reference({"run", "--prompt", "What is your name?"}).err.empty());
}

TEST_CASE("chat: commands", "[chat]")
{
    const TempFolder folder;
    const std::string trace = (folder.path / "t").string();
    std::string lines =
        "/hlp\n/help\n/look\nWhat is in this image?\n/look\n/look black\n/trace " + trace + "\n";
    for (int turn = 0; turn < 9; ++turn)
        lines += "Where is it?\n";
    lines += "/image nowhere.png\n/image " + images +
             "row.png\n/reset\nWhat color is the boat?\n//slash\n/quit\nignored?\n";
    Surroundings surroundings;
    surroundings.input = lines;
    const CommandResult chat = reference({"run", "--image", images + "demo.png", "--chat"}, surroundings);
    check_fine(chat);
    CHECK_THAT(chat.err, ContainsSubstring("/hlp: no command; /help would be right"));
    for (const std::string name : {"/help", "/image FILE", "/look", "/trace", "/reset", "/quit"})
        CHECK_THAT(chat.err, ContainsSubstring(name));
    CHECK_THAT(chat.err, ContainsSubstring("/look: nothing has been answered yet"));
    CHECK_THAT(chat.out, ContainsSubstring("Where layer 8 looked before \xE2\x80\x9Cright\xE2\x80\x9D"));
    CHECK_THAT(chat.out, ContainsSubstring("Where layer 8 looked before \xE2\x80\x9C"
                                           "black\xE2\x80\x9D"));
    CHECK_THAT(chat.err, ContainsSubstring("trace: " + trace));
    CHECK(count_of(chat.err, "the model was trained on conversations of up to 8 turns") == 1);
    CHECK_THAT(chat.err, ContainsSubstring("nowhere.png: no such file"));
    CHECK_THAT(chat.err, ContainsSubstring("row.png: 448 x 112 pixels"));
    CHECK(chat.err.find("Meta's rule") == std::string::npos);  // /reset removed the second picture
    CHECK_THAT(chat.out, ContainsSubstring("The boat is pink."));
    CHECK(count_of(chat.out, "\n") >= 45);
    // The trace is that of the answer it was asked for.
    const CommandResult shown = pictor_test::trace({"show", trace, "lm_head[-1,:1]"});
    check_fine(shown);
    CHECK_THAT(read_file(folder.path / "t" / "trace.json"), ContainsSubstring("I see a pink boat"));
}
