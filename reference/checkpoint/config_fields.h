// Fields of a config file, checked as they are read. Errors name the file, the field, what was found and what
// would be right.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace pictor {

// One object of a config file, and what an error message needs to point at it.
struct ConfigSection {
    std::string file;
    std::string name;  // "text_config.", or empty for the top level
    const nlohmann::json& fields;
};

[[noreturn]] void refuse_field(const ConfigSection& section, const std::string& field,
                               const std::string& found, const std::string& wanted);

// The field's value; null when it is absent or null in the file.
const nlohmann::json* find_field(const ConfigSection& section, const std::string& field);

// The same for a field that must be there.
const nlohmann::json& require_field(const ConfigSection& section, const std::string& field,
                                    const std::string& wanted);

bool whole_number_between(const nlohmann::json& value, std::int64_t low, std::int64_t high);

std::int64_t read_integer(const ConfigSection& section, const std::string& field, std::int64_t low,
                          std::int64_t high);
std::int64_t read_integer_or(const ConfigSection& section, const std::string& field, std::int64_t fallback,
                             std::int64_t low, std::int64_t high);
double read_number(const ConfigSection& section, const std::string& field, double low, double high);
double read_number_or(const ConfigSection& section, const std::string& field, double fallback, double low,
                      double high);

// Layer numbers in strictly ascending order, each below n_layers.
std::vector<std::int64_t> read_layers(const ConfigSection& section, const std::string& field,
                                      std::int64_t n_layers);

// One number for each of red, green and blue.
std::array<double, 3> read_colours(const ConfigSection& section, const std::string& field, double low,
                                   double high);

ConfigSection read_section(const ConfigSection& parent, const std::string& field);

// Refuses any value but the one that the code was written for; an absent field means that value.
void require_value(const ConfigSection& section, const std::string& field, const nlohmann::json& only);

void require_multiple(const ConfigSection& section, const std::string& field, std::int64_t value,
                      const std::string& of, std::int64_t divisor);

}  // namespace pictor
