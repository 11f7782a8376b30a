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

#include "reference/prompt/chat_template.h"
#include "tests/catch.h"
#include "tests/checkpoint_files.h"

using nlohmann::json;
using pictor::TextStream;
using pictor::Tokenizer;
using pictor_test::error_of;
using pictor_test::TempFolder;
using pictor_test::write_file;
using Ids = std::vector<std::int64_t>;

namespace {

// Put there by tests/fetch_llama_tokenizer.sh; its licence keeps it out of this repository.
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

// A tokenizer.json of 256 single bytes and a few merges, to be spoilt by the tests. Special tokens: 259 <|a|>, 260 <|b|>.
json small_tokenizer()
{
    std::ifstream in("models/pictor/tokenizer.json");
    json file = json::parse(in);
    json vocab = json::object();
    for (const auto& [token, id] : file.at("model").at("vocab").items())
        if (id.get<int>() < 256)
            vocab[token] = id;
    REQUIRE(vocab.size() == 256);
    vocab["ab"] = 256;
    vocab["abc"] = 257;
    vocab["bc"] = 258;
    file["model"]["vocab"] = vocab;
    file["model"]["merges"] = {"b c", "a b", "ab c"};
    json special = file.at("added_tokens").at(0);
    special["id"] = 259;
    special["content"] = "<|a|>";
    json other = special;
    other["id"] = 260;
    other["content"] = "<|b|>";
    file["added_tokens"] = {special, other};
    return file;
}

// What a tokenizer file of these bytes says: its error, after checking that it names the file.
std::string load_error(const std::string& bytes, const std::string& name = "tokenizer.json")
{
    const TempFolder folder;
    write_file(folder.path / name, bytes);
    const std::string message = error_of([&] { Tokenizer::load(folder.path / name); });
    CHECK_THAT(message, ContainsSubstring((folder.path / name).string()));
    return message;
}

std::string load_error(const std::function<void(json&)>& spoil)
{
    json file = small_tokenizer();
    spoil(file);
    return load_error(file.dump());
}

Tokenizer load_edited(const std::function<void(json&)>& edit)
{
    const TempFolder folder;
    json file = small_tokenizer();
    edit(file);
    write_file(folder.path / "tokenizer.json", file.dump());
    return Tokenizer::load(folder.path / "tokenizer.json");
}

std::string base64(const std::string& bytes)
{
    const char* const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        unsigned bits = 0;
        for (std::size_t i = 0; i < 3; ++i)
            bits = bits << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
        for (std::size_t i = 0; i < 4; ++i)
            text += at + i > bytes.size() ? '=' : letters[bits >> (18 - 6 * i) & 63u];
    }
    return text;
}

// Lines of a tokenizer.model: the 256 bytes, then these tokens.
std::string ranks(const std::vector<std::string>& more)
{
    std::string lines;
    for (int byte = 0; byte < 256; ++byte)
        lines += fmt::format("{} {}\n", base64(std::string(1, static_cast<char>(byte))), byte);
    for (std::size_t i = 0; i < more.size(); ++i)
        lines += fmt::format("{} {}\n", base64(more[i]), 256 + i);
    return lines;
}

Tokenizer load_ranks(const std::string& lines)
{
    const TempFolder folder;
    write_file(folder.path / "tokenizer.model", lines);
    return Tokenizer::load(folder.path / "tokenizer.model");
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
        WARN("left out: " << llama_file.string() << " is missing; tests/fetch_llama_tokenizer.sh downloads it");
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
    CHECK_THAT(error_of([&] { tokenizer.piece(513); }), ContainsSubstring("token id 513 is not of this tokenizer"));
    CHECK_THAT(error_of([&] { tokenizer.piece(-1); }), ContainsSubstring("token id -1"));
    CHECK_THAT(error_of([&] { tokenizer.special_id("<|picture|>"); }), ContainsSubstring("no special token '<|picture|>'"));
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
    for (const std::string bytes : {"\x80", "\xC0\xAF", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                                    "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "ok\xE2\x82", "\xF0\x9F\x98"}) {
        CAPTURE(bytes);
        CHECK_THAT(error_of([&] { tokenizer.encode(bytes, true); }), ContainsSubstring("not UTF-8"));
    }
    CHECK(tokenizer.decode(tokenizer.encode("\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", false), false)
          == "\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80");
}

TEST_CASE("tokenizer: bytes that are not UTF-8 become U+FFFD, as in Python")
{
    using pictor::valid_utf8;
    CHECK(valid_utf8("plain é 😀") == "plain é 😀");
    CHECK(valid_utf8("a\x80z") == "a\uFFFDz");
    CHECK(valid_utf8("\xE2\x82z") == "\uFFFDz");                  // one for a sequence that breaks off
    CHECK(valid_utf8("\xF0\x9F\x98") == "\uFFFD");
    CHECK(valid_utf8("\xE0\x80\x80") == "\uFFFD\uFFFD\uFFFD");    // one for each byte that can begin nothing
    CHECK(valid_utf8("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");
    CHECK(valid_utf8("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");
    CHECK(valid_utf8(std::string("\0", 1)) == std::string("\0", 1));
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
    CHECK(stream.push(tokenizer.special_id("<|eot_id|>")) == "");       // left out, and breaks nothing
    CHECK(stream.push(ids[0]) == "\uFFFD");                             // the smiley can no longer be completed
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
        file["model"]["merges"] = json::array({json::array({"a", "b"}), json::array({"ab", "c"}), json::array({"b", "c"})});  // the other spelling, another order
    });
    CHECK(pairs.encode("abc", false) == Ids{257});
    const Tokenizer twins = load_ranks(ranks({"aa", "aaa"}));
    CHECK(twins.encode("aaaaa", false) == Ids{256, 257});  // aa aa a, then aa + a
    const Tokenizer chain = load_ranks(ranks({"ab", "bc", "de", "cde"}));
    CHECK(chain.encode("abcde", false) == Ids{256, 259});  // b is gone when b c comes up, and c still waits for de
}

TEST_CASE("TRAP ignore_merges: a whole pre-token that is a token is taken as it is", "[trap]")
{
    const Tokenizer whole = load_edited([](json&) {});
    CHECK(whole.encode("abc", false) == Ids{257});
    CHECK(whole.encode("abcabc", false).size() == 4);  // a bc a bc
}

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

TEST_CASE("TRAP mongolian_vowel_separator: U+180E is not a space", "[trap]")
{
    // !\u180E and !\u3000 are tokens; a run of neither letters, digits nor spaces is one pre-token.
    const Tokenizer tokenizer = load_edited([](json& file) {
        file["model"]["vocab"]["!áłİ"] = 261;  // áłİ: the bytes E1 A0 8E
        file["model"]["vocab"]["!ãĢĢ"] = 262;  // ãĢĢ: the bytes E3 80 80
    });
    CHECK(tokenizer.encode("!\u180E", false) == Ids{261});
    CHECK(tokenizer.encode("!\u3000", false).size() == 4);
}

TEST_CASE("TRAP long_runs_are_cut: Meta cuts runs of 25,000 characters", "[trap]")
{
    const Tokenizer tokenizer = load_ranks(ranks({"aa", "aaa"}));
    CHECK(tokenizer.encode(std::string(24999, 'a'), false).back() == 257);
    CHECK(tokenizer.encode(std::string(25001, 'a'), false).back() == 'a');  // alone behind the cut, else it were in an aaa
    CHECK(tokenizer.encode(std::string(50001, 'a'), false).back() == 'a');
    // U+001C is a space for Python, which counts the runs, but not for the split pattern.
    CHECK(tokenizer.encode(std::string(24998, 'a') + "\x1C" + "aaa", false).back() == 257);
    CHECK(tokenizer.encode(std::string(25000, ' ') + std::string(25000, 'a'), false).back() == 256);
    const std::string spaced = repeat("b ", 199999) + "aaa";  // the third a is character 400,001
    const Ids ids = tokenizer.encode(spaced, false);
    CHECK(Ids(ids.end() - 2, ids.end()) == Ids{256, 'a'});
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
            file["model"]["vocab"][std::string(static_cast<std::size_t>(length), 'q')] = id;
            const std::string half(static_cast<std::size_t>(length / 2), 'q');
            file["model"]["merges"].push_back(json::array({half, half}));
        }
    });
    Ids ids;
    CHECK(seconds([&] { ids = tokenizer.encode(std::string(200'000, 'q'), false); }) < 5);  // 0.03 s in the fast build
    CHECK(ids.size() == 3125);
    CHECK(seconds([&] { ids = tokenizer.encode(std::string(200'000, ' ') + "x", false); }) < 5);
    CHECK(ids.size() == 200'001);
    CHECK(seconds([&] { ids = tokenizer.encode(repeat("<|", 100'000), true); }) < 5);
    CHECK(ids.size() == 200'000);
}

TEST_CASE("tokenizer: broken files are refused by name")
{
    CHECK_THAT(load_error(""), ContainsSubstring("is empty"));
    CHECK_THAT(load_error(" \n\n"), ContainsSubstring("is empty"));
    CHECK_THAT(load_error("{\"model\": "), ContainsSubstring("not a tokenizer.json"));
    CHECK_THAT(load_error("{}"), ContainsSubstring("no 'model'"));
    CHECK_THAT(load_error("[1, 2]"), ContainsSubstring("line 1 is '[1, 2]'; wanted JSON"));
    CHECK_THAT(load_error("{\"model\": " + std::string(100'000, '[')), ContainsSubstring("not a tokenizer.json"));
    CHECK_THAT(load_error("{\"model\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
               ContainsSubstring("'model.type' is ''"));
    const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
    for (const char* key : {"normalizer", "pre_tokenizer", "decoder", "added_tokens"})
        CHECK_THAT(load_error(fmt::format("{{\"model\": {{\"type\": \"BPE\", \"vocab\": {{\"a\": 0}}}}, \"{}\": {}}}", key, deep)),
                   ContainsSubstring("tokenizer.json: "));
    const TempFolder folder;
    CHECK_THAT(error_of([&] { Tokenizer::load(folder.path / "absent.json"); }), ContainsSubstring("cannot be read"));
    CHECK_THAT(error_of([&] { Tokenizer::load(folder.path); }), ContainsSubstring("tokenizer.model: cannot be read"));
}

TEST_CASE("tokenizer: a vocabulary that contradicts itself is refused")
{
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 257; }), ContainsSubstring("both have the id 257"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = -3; }), ContainsSubstring("'bc' has the id -3"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 10'000'001; }), ContainsSubstring("10000001; ids are"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 1.5; }), ContainsSubstring("'bc' has the id 1.5"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = "x"; }), ContainsSubstring("'bc' has the id string"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["bc"] = 5000; }), ContainsSubstring("without gaps"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["日"] = 261; }), ContainsSubstring("'日' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"]["x y"] = 261; }), ContainsSubstring("'x y' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"][""] = 261; }), ContainsSubstring("'' is not spelt in"));
    CHECK_THAT(load_error([](json& f) { f["model"]["vocab"] = json::array(); }), ContainsSubstring("'model.vocab' is not"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][0] = "b zz"; }), ContainsSubstring("names 'zz'"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][0] = "c b"; }), ContainsSubstring("names 'cb'"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][1] = "a b c"; }), ContainsSubstring("merge 1 is neither"));
    CHECK_THAT(load_error([](json& f) { f["model"]["merges"][1] = {"a", 1}; }), ContainsSubstring("merge 1 is neither"));
    CHECK_THAT(load_error([](json& f) { f["model"].erase("merges"); }), ContainsSubstring("no 'merges'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["id"] = 259; }), ContainsSubstring("both have the id 259"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["id"] = 17; }), ContainsSubstring("both have the id 17"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = "<|a|>"; }), ContainsSubstring("listed twice"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = "abc"; }), ContainsSubstring("257 in 'model.vocab'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1]["content"] = ""; }), ContainsSubstring("without content"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][1] = 7; }), ContainsSubstring("no 'content'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"] = 7; }), ContainsSubstring("'added_tokens' is not a list"));
    CHECK_THAT(load_error([](json& f) {
        f["model"]["vocab"].erase("ab");
        f["model"]["vocab"].erase("Ġ");
        f["model"]["vocab"]["aa"] = 256;
        f["model"]["vocab"]["aaa"] = 220;
        f["model"]["merges"] = json::array();
    }), ContainsSubstring("no token for the byte 0x20"));
}

TEST_CASE("tokenizer: steps that are not known are refused, not ignored")
{
    CHECK_THAT(load_error([](json& f) { f["model"]["type"] = "Unigram"; }), ContainsSubstring("'Unigram'; only BPE"));
    CHECK_THAT(load_error([](json& f) { f["normalizer"] = {{"type", "NFC"}}; }), ContainsSubstring("normalizer"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"] = nullptr; }), ContainsSubstring("'pre_tokenizer' is not a Sequence"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["type"] = "Digits"; }), ContainsSubstring("other steps"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"].push_back({{"type", "Digits"}}); }), ContainsSubstring("other steps"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }), ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["invert"] = true; }), ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", " "}}; }), ContainsSubstring("another way"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["use_regex"] = true; }), ContainsSubstring("other options"));
    CHECK_THAT(load_error([](json& f) { f["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; }), ContainsSubstring("other options"));
    CHECK_THAT(load_error([](json& f) { f["model"]["byte_fallback"] = true; }), ContainsSubstring("byte_fallback"));
    CHECK_THAT(load_error([](json& f) { f["model"]["dropout"] = 0.1; }), ContainsSubstring("dropout"));
    CHECK_THAT(load_error([](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }), ContainsSubstring("end_of_word_suffix"));
    CHECK_THAT(load_error([](json& f) { f["decoder"] = {{"type", "WordPiece"}}; }), ContainsSubstring("'decoder' is not ByteLevel"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][0]["lstrip"] = true; }), ContainsSubstring("has 'lstrip'"));
    CHECK_THAT(load_error([](json& f) { f["added_tokens"][0]["special"] = "yes"; }), ContainsSubstring("not a tokenizer.json"));
}

TEST_CASE("tokenizer: the split pattern is the file's, and its failures are errors")
{
    const auto with_pattern = [](const std::string& pattern) {
        return [pattern](json& file) { file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern; };
    };
    CHECK(load_edited(with_pattern("a|bc")).encode("abc", false).size() == 2);
    CHECK(load_edited(with_pattern("bc")).encode("abcab", false).back() == 256);  // what is not matched stays, as one piece
    const Tokenizer words = load_edited([&](json& file) {
        with_pattern("\\w+|\\W")(file);
        file["model"]["vocab"]["Ã©Ã©"] = 261;  // the bytes of éé
    });
    CHECK(words.encode("éé", false) == Ids{261});  // \w, \d and \b are Unicode's
    CHECK_THAT(load_error(with_pattern("(")), ContainsSubstring("split pattern: "));
    CHECK_THAT(load_error(with_pattern("\\C")), ContainsSubstring("split pattern: "));
    CHECK_THAT(load_error(with_pattern("[\\S]")), ContainsSubstring("split pattern: \\S inside a character class"));
    CHECK_THAT(load_error(with_pattern("\\p{Nonsense}")), ContainsSubstring("split pattern: "));
    const Tokenizer nothing = load_edited(with_pattern("x*"));
    CHECK_THAT(error_of([&] { nothing.encode("abc", false); }), ContainsSubstring("matches nothing at byte 0"));
    const Tokenizer endless = load_edited(with_pattern("(a|aa|aaa)+$"));
    CHECK_THAT(error_of([&] { endless.encode(std::string(200, 'a') + "!", false); }), ContainsSubstring("match limit"));
}

TEST_CASE("tokenizer: a broken tokenizer.model is refused by name")
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
