// How fast numbers become JSON.
#pragma once

#include <cstdint>

#include <nlohmann/json_fwd.hpp>

namespace pictor {

// `count` floats as a tensor file holds them, to /dev/null, with one thread and with two, and by nlohmann's
// dump: the fastest of `repeat` times. MB are those of each one's own text.
nlohmann::json time_json_numbers(std::int64_t count, int repeat);

}  // namespace pictor
