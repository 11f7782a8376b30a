// Guards the reading of a trace.json, which may be long and may come from anywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/json_file.h"

namespace pictor {

// Counts what a trace.json holds while it is parsed. The list of tensors may be long, so each entry is handed
// on and taken out of the document as soon as it is complete; all else is small.
class IndexWatch {
public:
    using Take = std::function<void(const nlohmann::json&)>;
    IndexWatch(std::string file, Take take) : file_(std::move(file)), take_(std::move(take)) {}

    bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed)
    {
        using Event = nlohmann::json::parse_event_t;
        if (event == Event::key && depth == 1)
            in_tensors_ = parsed == "tensors";
        if (depth > deepest_json)
            throw std::runtime_error(fmt::format("{}: is nested more than {} deep", file_, deepest_json));
        const bool is_new =
            event == Event::value || event == Event::array_start || event == Event::object_start;
        if (is_new && in_tensors_ && depth == 2) {
            if (event != Event::object_start)
                throw std::runtime_error(fmt::format("{}: \"tensors\": holds {}; want a list of objects",
                                                     file_,
                                                     event == Event::value ? brief_json(parsed) : "a list"));
            values_of_entry_ = 0;
        }
        std::int64_t& values = in_tensors_ && depth > 2 ? values_of_entry_ : values_elsewhere_;
        const std::int64_t most = in_tensors_ && depth > 2 ? most_values_of_entry : most_values_elsewhere;
        if (is_new && !(in_tensors_ && depth == 2) && ++values > most)
            throw std::runtime_error(fmt::format("{}: holds more than {} values {}", file_, most,
                                                 in_tensors_ ? "in one tensor" : "beside its tensors"));
        if (event != Event::object_end || depth != 2 || !in_tensors_)
            return true;
        take_(parsed);
        return false;
    }

private:
    static constexpr std::int64_t most_values_of_entry = 1000, most_values_elsewhere = 4'000'000;

    std::string file_;
    Take take_;
    bool in_tensors_ = false;
    std::int64_t values_of_entry_ = 0, values_elsewhere_ = 0;
};

}  // namespace pictor
