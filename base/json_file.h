// Reading JSON that somebody else wrote, and wording it in errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace pictor {

constexpr int deepest_json = 64;                       // levels of lists and objects
constexpr std::uint64_t most_json_values = 1'000'000;  // lists, objects, strings, numbers ... in one file

// Throws std::runtime_error when the text nests deeper than deepest_json or holds more than `most` values. A
// parsed value takes 20 to 50 times its bytes, so a file's size alone is no bound on memory; and what nests
// without end would be destroyed, copied and printed by recursion. who: the file.
void check_json_size(std::string_view text, const std::string& who, std::uint64_t most = most_json_values);

// The JSON in a text, whose size is checked first. Throws std::runtime_error.
nlohmann::json parse_json(std::string_view text, const std::string& who,
                          std::uint64_t most = most_json_values);

// The JSON object in a file. Throws std::runtime_error naming the file when it cannot be read, is larger than
// 64 MB, is not JSON, is not an object, is too deep or holds too much, or has a key twice in one object.
nlohmann::json read_json_object(const std::filesystem::path& path, std::string_view wanted = "a JSON file");

// A value for an error message: one short line, whatever the file holds.
std::string brief_json(const nlohmann::json& value);

}  // namespace pictor
