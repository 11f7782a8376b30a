#include "trace/recording/entry.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace fs = std::filesystem;

namespace pictor {

std::vector<std::string> split_words(std::string_view text)
{
    std::vector<std::string> words;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        if (end > at)
            words.emplace_back(text.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::string path_in_repository(std::string_view file)
{
    const std::size_t room = file.rfind("/reference/");
    if (room != std::string_view::npos)
        file.remove_prefix(room + 1);
    return fs::path(file).lexically_normal().generic_string();
}

std::string chapter_of(const std::string& source_file)
{
    const fs::path path(source_file);
    std::string chapter = path.stem().string();
    if (chapter == "attention" || chapter == "mlp")
        chapter = path.parent_path().filename().string() + "-" + chapter;
    std::replace(chapter.begin(), chapter.end(), '_', '-');
    return chapter;
}

std::string statistics_json(const TensorStatistics& statistics)
{
    const auto number = [](double value) {
        if (!std::isfinite(value))
            return std::string("null");
        char text[32];
        return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
    };
    return fmt::format(
        R"({{"min": {}, "max": {}, "mean": {}, "std": {}, "l2": {}, "zeros": {}, "nonfinite": {}}})",
        number(statistics.min), number(statistics.max), number(statistics.mean), number(statistics.std),
        number(statistics.l2), statistics.zeros, statistics.nonfinite);
}

std::string json_string(const std::string& text)
{
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string head_json(const std::string& name, std::size_t step, const std::vector<std::string>& axes,
                      const std::vector<std::int64_t>& shape, const std::string& dtype)
{
    std::vector<std::string> words;
    for (const std::string& axis : axes)
        words.push_back(json_string(axis));
    return fmt::format(R"("name": {}, "step": {}, "axes": [{}], "shape": [{}], "dtype": "{}")",
                       json_string(name), step, fmt::join(words, ", "), fmt::join(shape, ", "), dtype);
}

}  // namespace pictor
