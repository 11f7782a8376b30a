#include "reference/prompt/tokenizer.h"

#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/at.h"
#include "reference/prompt/chat_template.h"
#include "tests/catch.h"
#include "tests/reference/tokenizer_files.h"

using nlohmann::json;
using pictor::TextStream;
using pictor::Tokenizer;
using pictor_test::error_of;
using pictor_test::load_edited;
using pictor_test::load_error;
using pictor_test::load_ranks;
using pictor_test::ranks;
using Ids = std::vector<std::int64_t>;

namespace {

// Put there by tests/reference/fetch_llama_tokenizer.sh; its licence keeps it out of this repository.
const std::filesystem::path llama_file = "build/llama-models/tokenizer.model";

json golden_cases()
{
    std::ifstream in("golden/tokenizer/cases.json");
    return json::parse(in);
}

Tokenizer pictor_tokenizer() { return Tokenizer::load("models/pictor/tokenizer.json"); }

// As digest() of golden/make_tokenizer_cases.py.
json digest(const Ids& ids)
{
    std::uint64_t value = 0xCBF29CE484222325u;
    for (const std::int64_t id : ids)
        for (const char byte : std::to_string(id) + ",")
            value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3u;
    return {{"count", ids.size()}, {"fnv1a", fmt::format("{:016x}", value)}};
}

std::string repeat(const std::string& unit, int times)
{
    std::string text;
    for (int i = 0; i < times; ++i)
        text += unit;
    return text;
}

// Every golden text under one tokenizer; `who` is "meta" or "pictor".
void check_goldens(const Tokenizer& tokenizer, const std::string& who)
{
    const json golden = golden_cases();
    REQUIRE(golden.at("cases").size() >= 120);
    for (const json& entry : golden.at("cases")) {
        const std::string text = entry.at("text").get<std::string>();
        CAPTURE(text);
        const Ids ids = entry.at(who).get<Ids>();
        CHECK(tokenizer.encode(text, false) == ids);
        CHECK(tokenizer.decode(ids, false) == text);
        if (entry.contains(who + "_special"))
            CHECK(tokenizer.encode(text, true) == entry.at(who + "_special").get<Ids>());
        else
            CHECK(tokenizer.encode(text, true) == ids);
        if (entry.contains(who + "_inner_text")) {
            const Ids inner = ids.size() < 2 ? Ids() : Ids(ids.begin() + 1, ids.end() - 1);
            CHECK(tokenizer.decode(inner, false) == entry.at(who + "_inner_text").get<std::string>());
        }
    }
    for (const json& entry : golden.at("long_cases")) {
        const std::string unit = entry.at("unit").get<std::string>();
        CAPTURE(unit, entry.at("times").get<int>());
        CHECK(digest(tokenizer.encode(repeat(unit, entry.at("times").get<int>()), false)) == entry.at(who));
    }
}

// Of this process, so that a busy machine does not count.
double seconds(const std::function<void()>& work)
{
    const std::clock_t start = std::clock();
    work();
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

TEST_CASE("tokenizer: Pictor's ids are those of the tokenizers library")
{
    check_goldens(pictor_tokenizer(), "pictor");
}

TEST_CASE("tokenizer: the real Llama 3 ids are Meta's")
{
    if (!std::filesystem::exists(llama_file)) {
        WARN("left out: " << llama_file.string()
                          << " is missing; tests/reference/fetch_llama_tokenizer.sh downloads it");
        return;
    }
    const Tokenizer llama = Tokenizer::load(llama_file);
    CHECK(llama.size() == 128256);
    CHECK(llama.special_id("<|begin_of_text|>") == 128000);
    CHECK(llama.special_id("<|eot_id|>") == 128009);
    CHECK(llama.special_id("<|image|>") == 128011);
    CHECK(llama.special_id("<|reserved_special_token_245|>") == 128255);
    check_goldens(llama, "meta");
}

TEST_CASE("tokenizer: pieces, special tokens, sizes")
{
    const Tokenizer tokenizer = pictor_tokenizer();
    CHECK(tokenizer.size() == 513);
    CHECK(tokenizer.special_id("<|begin_of_text|>") == 480);
    CHECK(tokenizer.special_id("<|image|>") == 512);
    CHECK(tokenizer.piece(512) == "<|image|>");
    CHECK(tokenizer.piece(tokenizer.encode(" the", false).at(0)) == " the");
    CHECK(tokenizer.is_special(480));
    CHECK_FALSE(tokenizer.is_special(479));
    CHECK_FALSE(tokenizer.is_special(-1));
    CHECK_FALSE(tokenizer.is_special(513));
    CHECK_FALSE(tokenizer.find_special(" the").has_value());
    CHECK_THAT(error_of([&] { tokenizer.piece(513); }),
               ContainsSubstring("token id 513 is not of this tokenizer"));
    CHECK_THAT(error_of([&] { tokenizer.piece(-1); }), ContainsSubstring("token id -1"));
    CHECK_THAT(error_of([&] { tokenizer.special_id("<|picture|>"); }),
               ContainsSubstring("no special token '<|picture|>'"));
    CHECK(tokenizer.decode({480, 269, 489}, false) == "<|begin_of_text|>What<|eot_id|>");
    CHECK(tokenizer.decode({480, 269, 489}, true) == "What");
    CHECK(Tokenizer::load("models/pictor").size() == 513);
}

TEST_CASE("tokenizer: all 256 bytes have a piece of their own")
{
    const Tokenizer tokenizer = pictor_tokenizer();
    std::vector<bool> seen(256);
    for (std::int64_t id = 0; id < 480; ++id)
        if (tokenizer.piece(id).size() == 1)
            seen[static_cast<unsigned char>(tokenizer.piece(id)[0])] = true;
    CHECK(seen == std::vector<bool>(256, true));
}

TEST_CASE("tokenizer: text that is not UTF-8 is refused")
{
    const Tokenizer tokenizer = pictor_tokenizer();
    CHECK_THAT(error_of([&] { tokenizer.encode("caf\xE9 au lait", false); }),
               ContainsSubstring("not UTF-8: byte 0xE9 at offset 3"));
    for (const std::string bytes :
         {"\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xE2\x82", "\xF0\x9F\x98"}) {
        CAPTURE(bytes);
        CHECK_THAT(error_of([&] { tokenizer.encode(bytes, true); }), ContainsSubstring("not UTF-8"));
    }
    CHECK(tokenizer.decode(tokenizer.encode("\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", false), false) ==
          "\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80");
}

TEST_CASE("tokenizer: a stream holds back characters until they are complete")
{
    const Tokenizer tokenizer = pictor_tokenizer();
    const Ids ids = tokenizer.encode("é😀", false);
    REQUIRE(ids.size() == 6);  // one token per byte
    TextStream stream(tokenizer);
    std::vector<std::string> parts;
    for (const std::int64_t id : ids)
        parts.push_back(stream.push(id));
    CHECK(parts == std::vector<std::string>{"", "é", "", "", "", "😀"});
    CHECK(stream.flush() == "");

    CHECK(stream.push(ids[2]) == "");
    CHECK(stream.push(ids[3]) == "");
    CHECK(stream.push(tokenizer.special_id("<|eot_id|>")) == "");  // left out, and breaks nothing
    CHECK(stream.push(ids[0]) == "\uFFFD");                        // the smiley can no longer be completed
    CHECK(stream.flush() == "\uFFFD");
    CHECK(stream.flush() == "");

    TextStream with_names(tokenizer, false);
    CHECK(with_names.push(ids[2]) == "");
    CHECK(with_names.push(489) == "\uFFFD<|eot_id|>");
    CHECK_THAT(error_of([&] { with_names.push(100000); }), ContainsSubstring("token id 100000"));
}

TEST_CASE("TRAP merge_order: the pair of lowest rank merges first, then the leftmost", "[trap]")
{
    const Tokenizer plain = load_edited([](json& file) { file["model"]["ignore_merges"] = false; });
    const std::int64_t a = plain.encode("a", false).at(0);
    CHECK(plain.encode("abc", false) == Ids{a, 258});  // b c ranks before a b, though abc is a token
    const Tokenizer pairs = load_edited([](json& file) {
        file["model"]["ignore_merges"] = false;
        file["model"]["merges"] =
            json::array({json::array({"a", "b"}), json::array({"ab", "c"}),
                         json::array({"b", "c"})});  // the other spelling, another order
    });
    CHECK(pairs.encode("abc", false) == Ids{257});
    const Tokenizer twins = load_ranks(ranks({"aa", "aaa"}));
    CHECK(twins.encode("aaaaa", false) == Ids{256, 257});  // aa aa a, then aa + a
    const Tokenizer chain = load_ranks(ranks({"ab", "bc", "de", "cde"}));
    CHECK(chain.encode("abcde", false) ==
          Ids{256, 259});  // b is gone when b c comes up, and c still waits for de
}

TEST_CASE("TRAP ignore_merges: a whole pre-token that is a token is taken as it is", "[trap]")
{
    const Tokenizer whole = load_edited([](json&) {});
    CHECK(whole.encode("abc", false) == Ids{257});
    CHECK(whole.encode("abcabc", false).size() == 4);  // a bc a bc
}

TEST_CASE("TRAP long_runs_are_cut: Meta cuts runs of 25,000 characters", "[trap]")
{
    const Tokenizer tokenizer = load_ranks(ranks({"aa", "aaa"}));
    CHECK(tokenizer.encode(std::string(24999, 'a'), false).back() == 257);
    CHECK(tokenizer.encode(std::string(25001, 'a'), false).back() ==
          'a');  // alone behind the cut, else it were in an aaa
    CHECK(tokenizer.encode(std::string(50001, 'a'), false).back() == 'a');
    // U+001C is a space for Python, which counts the runs, but not for the split pattern.
    CHECK(tokenizer.encode(std::string(24998, 'a') + "\x1C" + "aaa", false).back() == 257);
    CHECK(tokenizer.encode(std::string(25000, ' ') + std::string(25000, 'a'), false).back() == 256);
    const std::string spaced = repeat("b ", 199999) + "aaa";  // the third a is character 400,001
    const Ids ids = tokenizer.encode(spaced, false);
    CHECK(Ids(ids.end() - 2, ids.end()) == Ids{256, 'a'});
}

TEST_CASE("tokenizer: added tokens that are not special are found in every text")
{
    const Tokenizer tokenizer = load_edited([](json& file) {
        file["added_tokens"][1]["special"] = false;
        file["added_tokens"][1]["content"] = "<|a|>b";  // of two at one place the longer
    });
    CHECK(tokenizer.encode("<|a|>b", true) == Ids{260});
    CHECK(tokenizer.encode("<|a|>b", false) == Ids{260});
    CHECK(tokenizer.encode("<|a|>", true) == Ids{259});
    CHECK(tokenizer.encode("<|a|>", false).size() == 5);
    CHECK_FALSE(tokenizer.is_special(260));
}

TEST_CASE("tokenizer: a long word of one letter takes no square of its length")
{
    const Tokenizer tokenizer = load_edited([](json& file) {
        for (int length = 2, id = 261; length <= 64; length *= 2, ++id) {
            file["model"]["vocab"][std::string(std::size_t(length), 'q')] = id;
            const std::string half(static_cast<std::size_t>(length / 2), 'q');
            file["model"]["merges"].push_back(json::array({half, half}));
        }
    });
    Ids ids;
    CHECK(seconds([&] { ids = tokenizer.encode(std::string(200'000, 'q'), false); }) <
          5);  // 0.03 s in the fast build
    CHECK(ids.size() == 3125);
    CHECK(seconds([&] { ids = tokenizer.encode(std::string(200'000, ' ') + "x", false); }) < 5);
    CHECK(ids.size() == 200'001);
    CHECK(seconds([&] { ids = tokenizer.encode(repeat("<|", 100'000), true); }) < 5);
    CHECK(ids.size() == 200'000);
}

TEST_CASE("tokenizer: the split pattern is the file's, and its failures are errors")
{
    const auto with_pattern = [](const std::string& pattern) {
        return [pattern](json& file) {
            file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern;
        };
    };
    CHECK(load_edited(with_pattern("a|bc")).encode("abc", false).size() == 2);
    CHECK(load_edited(with_pattern("bc")).encode("abcab", false).back() ==
          256);  // what is not matched stays, as one piece
    const Tokenizer words = load_edited([&](json& file) {
        with_pattern("\\w+|\\W")(file);
        file["model"]["vocab"]["Ã©Ã©"] = 261;  // the bytes of éé
    });
    CHECK(words.encode("éé", false) == Ids{261});  // \w, \d and \b are Unicode's
    CHECK_THAT(load_error(with_pattern("(")), ContainsSubstring("split pattern: "));
    CHECK_THAT(load_error(with_pattern("\\C")), ContainsSubstring("split pattern: "));
    CHECK_THAT(load_error(with_pattern("[\\S]")),
               ContainsSubstring("split pattern: \\S inside a character class"));
    CHECK_THAT(load_error(with_pattern("\\p{Nonsense}")), ContainsSubstring("split pattern: "));
    const Tokenizer nothing = load_edited(with_pattern("x*"));
    CHECK_THAT(error_of([&] { nothing.encode("abc", false); }),
               ContainsSubstring("matches nothing at byte 0"));
    const Tokenizer endless = load_edited(with_pattern("(a|aa|aaa)+$"));
    CHECK_THAT(error_of([&] { endless.encode(std::string(200, 'a') + "!", false); }),
               ContainsSubstring("match limit"));
}
