#include "base/json_file.h"

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/memory_map.h"

namespace pictor {

using nlohmann::json;

json read_json_object(const std::filesystem::path& path)
{
    constexpr std::uint64_t max_bytes = 64'000'000;
    constexpr int max_depth = 64;
    const MappedFile file(path);
    if (file.size() > max_bytes)
        throw std::runtime_error(
            fmt::format("{}: {} bytes, wanted at most {}", path.string(), file.size(), max_bytes));

    // The library keeps the last of two equal keys and says nothing; a reader of the file may have meant the
    // first.
    std::vector<std::set<std::string>> keys_of_open_objects;
    const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
        if (depth > max_depth)
            throw std::runtime_error(
                fmt::format("{}: nests deeper than {} levels", path.string(), max_depth));
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
        const std::string_view text = file.text();
        value = json::parse(text.begin(), text.end(), watch);
    } catch (const json::exception& error) {
        throw std::runtime_error(fmt::format("{}: is not JSON: {}", path.string(), error.what()));
    }
    if (!value.is_object())
        throw std::runtime_error(
            fmt::format("{}: holds {}, wanted an object", path.string(), brief_json(value)));
    return value;
}

std::string brief_json(const json& value)
{
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
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);  // ASCII only
    if (text.size() > 80)
        text = text.substr(0, 77) + "...";
    return text;
}

}  // namespace pictor
