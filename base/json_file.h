// Reading JSON that somebody else wrote.
#pragma once

#include <filesystem>

#include <nlohmann/json.hpp>

namespace pictor {

// The JSON object in a file. Throws std::runtime_error naming the file when it cannot be read, is larger than
// 64 MB, is not JSON, is not an object, nests deeper than 64 levels, or has a key twice in one object.
nlohmann::json read_json_object(const std::filesystem::path& path);

// A value for an error message: short, whatever the file holds.
std::string brief_json(const nlohmann::json& value);

}  // namespace pictor
