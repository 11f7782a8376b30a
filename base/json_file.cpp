#include "base/json_file.h"

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/input_file.h"
#include "base/shown_text.h"

namespace pictor {

using nlohmann::json;

void check_json_size(std::string_view text, const std::string& who, std::uint64_t most)
{
    std::uint64_t values = 1;
    int depth = 0;
    bool in_string = false;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        if (in_string) {
            if (c == '\\')
                ++at;
            in_string = c != '"';
            continue;
        }
        in_string = c == '"';
        values += c == ',' || c == '[' || c == '{';
        depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
        if (depth > deepest_json)
            throw std::runtime_error(
                fmt::format("{}: nests deeper than {} levels at byte {}", who, deepest_json, at));
        if (values > most)
            throw std::runtime_error(fmt::format("{}: holds more than {} values, wanted fewer", who, most));
    }
}

json parse_json(std::string_view text, const std::string& who, std::uint64_t most)
{
    check_json_size(text, who, most);
    try {
        return json::parse(text.begin(), text.end());
    } catch (const json::exception& error) {
        throw std::runtime_error(fmt::format("{}: is not JSON: {}", who, terminal_text(error.what())));
    }
}

json read_json_object(const std::filesystem::path& path, std::string_view wanted)
{
    constexpr std::uint64_t max_bytes = 64'000'000;
    const std::string text = read_whole_file(path, max_bytes, wanted);
    check_json_size(text, path.string());

    // The library keeps the last of two equal keys and says nothing; a reader of the file may have meant the
    // first.
    std::vector<std::set<std::string>> keys_of_open_objects;
    const auto watch = [&](int, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::object_start)
            keys_of_open_objects.emplace_back();
        else if (event == json::parse_event_t::object_end)
            keys_of_open_objects.pop_back();
        else if (event == json::parse_event_t::key) {
            const std::string& key = parsed.get_ref<const std::string&>();
            if (!keys_of_open_objects.back().insert(key).second)
                throw std::runtime_error(fmt::format("{}: field {} appears twice in one object",
                                                     path.string(), brief_json(parsed)));
        }
        return true;
    };

    json value;
    try {
        value = json::parse(text, watch);
    } catch (const json::exception& error) {
        throw std::runtime_error(
            fmt::format("{}: is not JSON: {}", path.string(), terminal_text(error.what())));
    }
    if (!value.is_object())
        throw std::runtime_error(
            fmt::format("{}: holds {}, wanted an object", path.string(), brief_json(value)));
    return value;
}

std::string brief_json(const json& value)
{
    constexpr std::size_t most = 80;
    if (value.is_object())
        return "an object";
    if (value.is_array() && value.size() > 12)
        return fmt::format("a list of {}", value.size());
    if (value.is_array()) {
        std::string items;
        for (const json& item : value)
            items +=
                (items.empty() ? "" : ", ") + (item.is_structured() ? std::string("...") : brief_json(item));
        return "[" + items + "]";
    }
    if (value.is_string() && value.get_ref<const std::string&>().size() > most)
        return brief_json(value.get_ref<const std::string&>().substr(0, most));    // cut below
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);  // ASCII only
    if (text.size() > most)
        text = text.substr(0, most - 3) + "...";
    return text;
}

}  // namespace pictor
