#include "reference/checkpoint/config_fields.h"

#include <stdexcept>

#include <fmt/format.h>

#include "base/at.h"
#include "base/json_file.h"

namespace pictor {

using nlohmann::json;

void refuse_field(const ConfigSection& section, const std::string& field, const std::string& found,
                  const std::string& wanted)
{
    throw std::runtime_error(
        fmt::format("{}: {}{} is {}, wanted {}", section.file, section.name, field, found, wanted));
}

const json* find_field(const ConfigSection& section, const std::string& field)
{
    const auto found = section.fields.find(field);
    return found == section.fields.end() || found->is_null() ? nullptr : &*found;
}

const json& require_field(const ConfigSection& section, const std::string& field, const std::string& wanted)
{
    const json* value = find_field(section, field);
    if (value == nullptr)
        refuse_field(section, field, "missing", wanted);
    return *value;
}

bool whole_number_between(const json& value, std::int64_t low, std::int64_t high)
{
    // is_number_integer() holds for negative and for unsigned integers; not for 1.0, "1" or true.
    if (!value.is_number_integer())
        return false;
    if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high))
        return false;
    return value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high;
}

std::int64_t read_integer(const ConfigSection& section, const std::string& field, std::int64_t low,
                          std::int64_t high)
{
    const std::string wanted = fmt::format("a whole number from {} to {}", low, high);
    const json& value = require_field(section, field, wanted);
    if (!whole_number_between(value, low, high))
        refuse_field(section, field, brief_json(value), wanted);
    return value.get<std::int64_t>();
}

std::int64_t read_integer_or(const ConfigSection& section, const std::string& field, std::int64_t fallback,
                             std::int64_t low, std::int64_t high)
{
    return find_field(section, field) == nullptr ? fallback : read_integer(section, field, low, high);
}

double read_number(const ConfigSection& section, const std::string& field, double low, double high)
{
    const std::string wanted = fmt::format("a number from {} to {}", low, high);
    const json& value = require_field(section, field, wanted);
    if (!value.is_number() || !(value.get<double>() >= low && value.get<double>() <= high))
        refuse_field(section, field, brief_json(value), wanted);
    return value.get<double>();
}

double read_number_or(const ConfigSection& section, const std::string& field, double fallback, double low,
                      double high)
{
    return find_field(section, field) == nullptr ? fallback : read_number(section, field, low, high);
}

std::vector<std::int64_t> read_layers(const ConfigSection& section, const std::string& field,
                                      std::int64_t n_layers)
{
    const std::string wanted =
        fmt::format("layer numbers from 0 to {} in ascending order, none twice", n_layers - 1);
    const json& value = require_field(section, field, wanted);
    if (!value.is_array())
        refuse_field(section, field, brief_json(value), wanted);
    std::vector<std::int64_t> layers;
    for (const json& item : value) {
        if (!whole_number_between(item, 0, n_layers - 1) ||
            (!layers.empty() && item.get<std::int64_t>() <= layers.back()))
            refuse_field(section, field, fmt::format("{} (at {})", brief_json(value), brief_json(item)),
                         wanted);
        layers.push_back(item.get<std::int64_t>());
    }
    return layers;
}

std::array<double, 3> read_colours(const ConfigSection& section, const std::string& field, double low,
                                   double high)
{
    const std::string wanted = fmt::format("three numbers from {} to {}", low, high);
    const json& value = require_field(section, field, wanted);
    std::array<double, 3> colours{};
    if (!value.is_array() || value.size() != colours.size())
        refuse_field(section, field, brief_json(value), wanted);
    for (std::size_t colour = 0; colour < colours.size(); ++colour) {
        const json& item = value[colour];
        if (!item.is_number() || !(item.get<double>() >= low && item.get<double>() <= high))
            refuse_field(section, field, brief_json(value), wanted);
        colours[colour] = item.get<double>();
    }
    return colours;
}

ConfigSection read_section(const ConfigSection& parent, const std::string& field)
{
    const json& value = require_field(parent, field, "an object");
    if (!value.is_object())
        refuse_field(parent, field, brief_json(value), "an object");
    return {parent.file, parent.name + field + ".", value};
}

void require_value(const ConfigSection& section, const std::string& field, const json& only)
{
    const json* value = find_field(section, field);
    if (value != nullptr && *value != only)
        refuse_field(section, field, brief_json(*value), only.dump());
}

void require_multiple(const ConfigSection& section, const std::string& field, std::int64_t value,
                      const std::string& of, std::int64_t divisor)
{
    if (value % divisor != 0)
        refuse_field(section, field, fmt::to_string(value),
                     fmt::format("a multiple of {} ({})", of, divisor));
}

}  // namespace pictor
