#include "base/stored_numbers.h"

#include <array>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace pictor {
namespace {

constexpr std::array<std::pair<std::string_view, std::int64_t>, 9> known_types{{{"F32", 4},
                                                                                {"F64", 8},
                                                                                {"F16", 2},
                                                                                {"BF16", 2},
                                                                                {"I64", 8},
                                                                                {"I32", 4},
                                                                                {"I8", 1},
                                                                                {"U8", 1},
                                                                                {"BOOL", 1}}};

template <typename Stored, typename Number>
void convert_each(const char* bytes, std::int64_t count, Number* values)
{
    for (std::int64_t i = 0; i < count; ++i)
        values[i] =
            static_cast<Number>(number_at<Stored>(bytes + i * static_cast<std::int64_t>(sizeof(Stored))));
}

template <typename Number>
void convert(std::string_view type, const char* bytes, std::int64_t count, Number* values)
{
    if constexpr (std::is_same_v<Number, float>) {
        if (type == "F32" || type == "F16" || type == "BF16")
            return widen(type == "F32"   ? DType::f32
                         : type == "F16" ? DType::f16
                                         : DType::bf16,
                         bytes, count, values);
        if (type == "F64")
            return convert_each<double>(bytes, count, values);
    }
    if (type == "I64")
        convert_each<std::int64_t>(bytes, count, values);
    else if (type == "I32")
        convert_each<std::int32_t>(bytes, count, values);
    else if (type == "I8")
        convert_each<std::int8_t>(bytes, count, values);
    else if (type == "U8" || type == "BOOL")
        convert_each<std::uint8_t>(bytes, count, values);
    else
        throw std::runtime_error("numbers of type " + std::string(type) + " are not whole");
}

}  // namespace

std::int64_t stored_bytes(std::string_view type)
{
    for (const auto& [name, bytes] : known_types)
        if (name == type)
            return bytes;
    return 0;
}

void convert_numbers(std::string_view type, const void* bytes, std::int64_t count, float* values)
{
    convert(type, static_cast<const char*>(bytes), count, values);
}

void convert_numbers(std::string_view type, const void* bytes, std::int64_t count, std::int64_t* values)
{
    convert(type, static_cast<const char*>(bytes), count, values);
}

}  // namespace pictor
