#include "reference/prompt/tokenizer_file.h"

#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "reference/prompt/chat_template.h"
#include "tests/catch.h"
#include "tests/reference/tokenizer_files.h"

using nlohmann::json;
using pictor::Tokenizer;
using pictor_test::error_of;
using pictor_test::load_edited;
using pictor_test::load_error;
using pictor_test::load_ranks;
using pictor_test::ranks;
using pictor_test::TempFolder;
using Ids = std::vector<std::int64_t>;

TEST_CASE("TRAP case_insensitive_contractions: U+017F counts as an s, inside (?i:) only", "[trap]")
{
    // '\u017Fx and "\u017Fx are tokens; only a pre-token that is whole becomes one.
    const Tokenizer tokenizer = load_edited([](json& file) {
        file["model"]["vocab"]["'Å¿x"] = 261;  // Å¿: the bytes C5 BF
        file["model"]["vocab"]["\"Å¿x"] = 262;
    });
    CHECK(tokenizer.encode("\"\u017Fx", false) == Ids{262});
    CHECK(tokenizer.encode("'\u017Fx", false).size() == 4);  // cut into '\u017F and x, as 's and x would be
    // The same under the pattern that stands for tokenizer.model.
    CHECK(load_ranks(ranks({"'\u017Fx"})).encode("'\u017Fx", false).size() == 4);
    CHECK(load_ranks(ranks({"\"\u017Fx"})).encode("\"\u017Fx", false) == Ids{256});
}

TEST_CASE("TRAP image_id_of_tokenizer: tokenizer.model calls <|image|> 11 places after BOS", "[trap]")
{
    const Tokenizer tokenizer = load_ranks(ranks({}));
    CHECK(tokenizer.special_id("<|begin_of_text|>") == 256);
    CHECK(tokenizer.special_id("<|image|>") == 267);
    CHECK(tokenizer.piece(261) == "<|step_id|>");
    CHECK(tokenizer.piece(268) == "<|reserved_special_token_2|>");
    CHECK(tokenizer.size() == 512);
    CHECK(pictor::encode_raw(tokenizer, "<|image|>x", 512) == Ids{256, 512, 'x'});
}

TEST_CASE("tokenizer file: broken files are refused by name")
{
    CHECK_THAT(load_error(""), ContainsSubstring("is empty"));
    CHECK_THAT(load_error(" \n\n"), ContainsSubstring("is empty"));
    CHECK_THAT(load_error("{\"model\": "), ContainsSubstring("is not JSON"));
    CHECK_THAT(load_error("{}"), ContainsSubstring("no 'model'"));
    CHECK_THAT(load_error("[1, 2]"), ContainsSubstring("line 1 is '[1, 2]'; wanted JSON"));
    CHECK_THAT(load_error("{\"model\": " + std::string(100'000, '[')),
               ContainsSubstring("nests deeper than 64 levels"));
    CHECK_THAT(load_error("{\"model\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
               ContainsSubstring("nests deeper than 64 levels"));
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    for (const char* key : {"normalizer", "pre_tokenizer", "decoder", "added_tokens"})
        CHECK_THAT(
            load_error(fmt::format(
                "{{\"model\": {{\"type\": \"BPE\", \"vocab\": {{\"a\": 0}}}}, \"{}\": {}}}", key, deep)),
            ContainsSubstring("tokenizer.json: "));
    const TempFolder folder;
    CHECK_THAT(error_of([&] { Tokenizer::load(folder.path / "absent.json"); }),
               ContainsSubstring("no such file"));
    CHECK_THAT(error_of([&] { Tokenizer::load(folder.path); }),
               ContainsSubstring("tokenizer.model: no such file"));
}

TEST_CASE("tokenizer file: a vocabulary that contradicts itself is refused")
{
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 257; }),
               ContainsSubstring("both have the id 257"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = -3; }),
               ContainsSubstring("'bc' has the id -3"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 10'000'001; }),
               ContainsSubstring("10000001; ids are"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 1.5; }),
               ContainsSubstring("'bc' has the id 1.5"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = "x"; }),
               ContainsSubstring("'bc' has the id \"x\""));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 5000; }),
               ContainsSubstring("without gaps"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["日"] = 261; }),
               ContainsSubstring("'日' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["x y"] = 261; }),
               ContainsSubstring("'x y' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"][""] = 261; }),
               ContainsSubstring("'' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"] = json::array(); }),
               ContainsSubstring("'model.vocab' is not"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][0] = "b zz"; }),
               ContainsSubstring("names 'zz'"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][0] = "c b"; }), ContainsSubstring("names 'cb'"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][1] = "a b c"; }),
               ContainsSubstring("merge 1 is neither"));
    CHECK_THAT(load_error([](json& f) {
                   f["model"]["merges"][1] = {"a", 1};
               }),
               ContainsSubstring("merge 1 is neither"));
    CHECK_THAT(load_error([](json& f) { f["model"].erase("merges"); }), ContainsSubstring("no 'merges'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["id"] = 259; }),
               ContainsSubstring("both have the id 259"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["id"] = 17; }),
               ContainsSubstring("both have the id 17"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = "<|a|>"; }),
               ContainsSubstring("listed twice"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = "abc"; }),
               ContainsSubstring("257 in 'model.vocab'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = ""; }),
               ContainsSubstring("without content"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1] = 7; }), ContainsSubstring("no 'content'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"] = 7; }),
               ContainsSubstring("'added_tokens' is not a list"));
    CHECK_THAT(load_error([](json& f) {
                   f["model"]["vocab"].erase("ab");
                   f["model"]["vocab"].erase("Ġ");
                   f["model"]["vocab"]["aa"] = 256;
                   f["model"]["vocab"]["aaa"] = 220;
                   f["model"]["merges"] = json::array();
               }),
               ContainsSubstring("no token for the byte 0x20"));
}

TEST_CASE("tokenizer file: steps that are not known are refused, not ignored")
{
    CHECK_THAT(load_error([](json& f) { f["model"]["type"] = "Unigram"; }),
               ContainsSubstring("'Unigram'; only BPE"));
    CHECK_THAT(load_error([](json& f) {
                   f["normalizer"] = {{"type", "NFC"}};
               }),
               ContainsSubstring("normalizer"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"] = nullptr; }),
               ContainsSubstring("'pre_tokenizer' is not a Sequence"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["type"] = "Digits"; }),
               ContainsSubstring("other steps"));
    CHECK_THAT(load_error([](json& f) {
                   f["pre_tokenizer"]["pretokenizers"].push_back({{"type", "Digits"}});
               }),
               ContainsSubstring("other steps"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }),
               ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }),
               ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) {
                   f["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", " "}};
               }),
               ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; }),
               ContainsSubstring("other options"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }),
               ContainsSubstring("other options"));
    CHECK_THAT(load_error([](json& f) { f["model"]["byte_fallback"] = true; }),
               ContainsSubstring("byte_fallback"));
    CHECK_THAT(load_error([](json& f) { f["model"]["dropout"] = 0.1; }), ContainsSubstring("dropout"));
    CHECK_THAT(load_error([](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }),
               ContainsSubstring("end_of_word_suffix"));
    CHECK_THAT(load_error([](json& f) {
                   f["decoder"] = {{"type", "WordPiece"}};
               }),
               ContainsSubstring("'decoder' is not ByteLevel"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][0]["lstrip"] = true; }),
               ContainsSubstring("has 'lstrip'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][0]["special"] = "yes"; }),
               ContainsSubstring("not a tokenizer.json"));
}

TEST_CASE("tokenizer file: a broken tokenizer.model is refused by name")
{
    const auto error = [](const std::string& lines) { return load_error(lines, "tokenizer.model"); };
    CHECK_THAT(error("IQ== 0\nI!== 1\n"), ContainsSubstring("line 2 is 'I!== 1'"));
    CHECK_THAT(error("\x1B[2J 0\n"), ContainsSubstring("line 1 is '\\x1B[2J 0'"));
    CHECK_THAT(error("IQ= 0\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ== x\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ== 0 0\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ== -1\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ== 10000001\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ== 99999999999999999999\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("IQ==\n"), ContainsSubstring("line 1"));
    CHECK_THAT(error("\x0A\x0E\x0A\x05<unk>"), ContainsSubstring("line 2"));  // a SentencePiece model
    CHECK_THAT(error("IQ== 0\n"), ContainsSubstring("no token for the byte 0x00"));
    CHECK_THAT(error(ranks({}) + "YWI= 257\n"), ContainsSubstring("without gaps"));
    CHECK_THAT(error(ranks({}) + "YWI= 7\n"), ContainsSubstring("both have the id 7"));
    CHECK_THAT(error(ranks({"ab", "ab"})), ContainsSubstring("has the ranks 256 and 257"));
    CHECK(load_ranks("\r\n" + ranks({"ab"})).encode("ab", false) == Ids{256});
}
