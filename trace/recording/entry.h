// The words of a tensor's entry in trace.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trace/recording/statistics.h"

namespace pictor {

// "head token key" -> {"head", "token", "key"}.
std::vector<std::string> split_words(std::string_view text);

// "reference/text/rope.cpp" from however the compiler was given the path.
std::string path_in_repository(std::string_view file);

// The word a chapter goes by: its source file's stem. Two rooms have an attention and an mlp, so these bear
// the room: "vision-attention".
std::string chapter_of(const std::string& source_file);

// A JSON string; bytes that are not UTF-8 are replaced.
std::string json_string(const std::string& text);

// A JSON object; null where no number is finite.
std::string statistics_json(const TensorStatistics& statistics);

// The members that trace.json and the tensor file have in common.
std::string head_json(const std::string& name, std::size_t step, const std::vector<std::string>& axes,
                      const std::vector<std::int64_t>& shape, const std::string& dtype);

}  // namespace pictor
