// Small tokenizer files, whole and spoilt.
#pragma once

#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "reference/prompt/tokenizer.h"
#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

namespace pictor_test {

// A tokenizer.json of 256 single bytes and a few merges, to be spoilt by the tests. Special tokens: 259
// <|a|>, 260 <|b|>.
inline nlohmann::json small_tokenizer()
{
    std::ifstream in("models/pictor/tokenizer.json");
    nlohmann::json file = nlohmann::json::parse(in);
    nlohmann::json vocab = nlohmann::json::object();
    for (const auto& [token, id] : file.at("model").at("vocab").items())
        if (id.get<int>() < 256)
            vocab[token] = id;
    REQUIRE(vocab.size() == 256);
    vocab["ab"] = 256;
    vocab["abc"] = 257;
    vocab["bc"] = 258;
    file["model"]["vocab"] = vocab;
    file["model"]["merges"] = {"b c", "a b", "ab c"};
    nlohmann::json special = file.at("added_tokens").at(0);
    special["id"] = 259;
    special["content"] = "<|a|>";
    nlohmann::json other = special;
    other["id"] = 260;
    other["content"] = "<|b|>";
    file["added_tokens"] = {special, other};
    return file;
}

// What a tokenizer file of these bytes says: its error, after checking that it names the file.
inline std::string load_error(const std::string& bytes, const std::string& name = "tokenizer.json")
{
    const TempFolder folder;
    write_file(folder.path / name, bytes);
    const std::string message = error_of([&] { pictor::Tokenizer::load(folder.path / name); });
    CHECK_THAT(message, ContainsSubstring((folder.path / name).string()));
    return message;
}

inline std::string load_error(const std::function<void(nlohmann::json&)>& spoil)
{
    nlohmann::json file = small_tokenizer();
    spoil(file);
    return load_error(file.dump());
}

inline pictor::Tokenizer load_edited(const std::function<void(nlohmann::json&)>& edit)
{
    const TempFolder folder;
    nlohmann::json file = small_tokenizer();
    edit(file);
    write_file(folder.path / "tokenizer.json", file.dump());
    return pictor::Tokenizer::load(folder.path / "tokenizer.json");
}

inline std::string base64(const std::string& bytes)
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
inline std::string ranks(const std::vector<std::string>& more)
{
    std::string lines;
    for (int byte = 0; byte < 256; ++byte)
        lines += fmt::format("{} {}\n", base64(std::string(1, static_cast<char>(byte))), byte);
    for (std::size_t i = 0; i < more.size(); ++i)
        lines += fmt::format("{} {}\n", base64(more[i]), 256 + i);
    return lines;
}

inline pictor::Tokenizer load_ranks(const std::string& lines)
{
    const TempFolder folder;
    write_file(folder.path / "tokenizer.model", lines);
    return pictor::Tokenizer::load(folder.path / "tokenizer.model");
}

}  // namespace pictor_test
