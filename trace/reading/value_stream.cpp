// Pulls the numbers out of a tensor file without ever holding the file: a small JSON reader for one known
// layout.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "base/json_file.h"
#include "base/shown_text.h"
#include "trace/reading/reader.h"

using nlohmann::json;

namespace pictor {
namespace {

constexpr std::size_t buffer_size = 1 << 18;
constexpr std::size_t longest_number = 128;      // characters, with what separates two numbers
constexpr std::size_t longest_member = 1 << 20;  // characters of anything in the file that is not "values"

constexpr std::size_t most_members = 64;

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// The usual number, "-0.12345678": digits with a point among them, and no exponent. With at most 15 digits
// both its digits and the power of ten behind them are exact in a double, so that their quotient is rounded
// once; rounded again to float it is still the nearest one, unless the double lies at the middle between two
// floats: those are left to from_chars, as is everything else. Returns where the number ends, or nullptr.
// Three times as fast as from_chars alone.
const char* read_plain_float(const char* at, float& value)
{
    constexpr double powers[] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const bool negative = *at == '-';
    at += negative;
    std::uint64_t digits = 0;
    const char* const start = at;
    while (*at >= '0' && *at <= '9')
        digits = digits * 10 + static_cast<std::uint64_t>(*at++ - '0');
    std::ptrdiff_t n_digits = at - start, behind_point = 0;
    if (*at == '.') {
        const char* const point = ++at;
        while (*at >= '0' && *at <= '9')
            digits = digits * 10 + static_cast<std::uint64_t>(*at++ - '0');
        behind_point = at - point;
        n_digits += behind_point;
    }
    if (n_digits == 0 || n_digits > 15 || *at == 'e' || *at == 'E' || at[-1] == '.')
        return nullptr;
    const double exact = static_cast<double>(digits) / powers[behind_point];
    constexpr std::uint64_t below_float = (std::uint64_t{1} << 29) - 1, middle = std::uint64_t{1} << 28;
    const std::uint64_t rest = std::bit_cast<std::uint64_t>(exact) & below_float;
    if (rest - (middle - 1) <= 2 || (exact != 0 && exact < 1e-30))
        return nullptr;
    value = static_cast<float>(negative ? -exact : exact);
    return at;
}

}  // namespace

struct ValueStream::State {
    std::filesystem::path path;
    TraceEntry entry;
    std::FILE* file = nullptr;
    std::vector<char> buffer =
        std::vector<char>(buffer_size + 1);  // one more: a zero behind the last character
    char* at = nullptr;                      // next character
    char* end = nullptr;                     // behind the last one in the buffer
    std::int64_t before = 0;                 // bytes of the file before the buffer
    bool whole_file_seen = false, ended = false, checked = false;
    std::int64_t count = 0;  // numbers read
    json header = json::object();

    State(std::filesystem::path where, const TraceEntry& what);
    ~State();

    [[noreturn]] void fail(const std::string& what) const;
    void refill();
    void keep_a_number_ahead()
    {
        if (end - at < static_cast<std::ptrdiff_t>(2 * longest_number) && !whole_file_seen)
            refill();
    }
    char next_sign();
    void expect(char wanted);
    std::string raw_value();
    bool read_members(bool first);
    void check_header() const;
    void finish();
    template <typename Number> Number read_number();
    template <typename Number> std::int64_t read(Number* values, std::int64_t capacity);
};

ValueStream::State::State(std::filesystem::path where, const TraceEntry& what)
    : path(std::move(where)), entry(what)
{
    file = std::fopen(path.c_str(), "rb");
    if (!file)
        throw std::runtime_error(
            fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
    std::setvbuf(file, nullptr, _IONBF, 0);
    at = end = buffer.data();
    try {
        expect('{');
        if (!read_members(true))
            fail("has no \"values\"");
    } catch (...) {
        std::fclose(file);
        throw;
    }
}

ValueStream::State::~State() { std::fclose(file); }

void ValueStream::State::fail(const std::string& what) const
{
    throw std::runtime_error(
        fmt::format("{}: at byte {}: {}", path.string(), before + (at - buffer.data()), what));
}

// Moves what is left to the front and reads on behind it.
void ValueStream::State::refill()
{
    const std::size_t left = static_cast<std::size_t>(end - at);
    std::memmove(buffer.data(), at, left);
    before += at - buffer.data();
    at = buffer.data();
    const std::size_t got = std::fread(at + left, 1, buffer_size - left, file);
    if (got == 0) {
        if (std::ferror(file))
            fail(fmt::format("cannot be read: {}", std::strerror(errno)));
        whole_file_seen = true;
    }
    end = at + left + got;
    *end = '\0';
}

// The next character that is no white space, without taking it; '\0' at the end of the file.
char ValueStream::State::next_sign()
{
    while (true) {
        while (at < end && is_space(*at))
            ++at;
        if (at < end)
            return *at;
        if (whole_file_seen)
            return '\0';
        refill();
    }
}

void ValueStream::State::expect(char wanted)
{
    const char found = next_sign();
    if (found == '\0' && at == end)
        fail(fmt::format("the file ends where '{}' should stand", wanted));
    if (found != wanted)
        fail(fmt::format("found {} where '{}' should stand", in_quotes({&found, 1}), wanted));
    ++at;
}

// The text of one JSON value, up to the ',', ':', '}' or ']' behind it.
std::string ValueStream::State::raw_value()
{
    std::string text;
    int depth = 0;
    bool in_string = false, escaped = false;
    next_sign();
    while (true) {
        if (at == end) {
            if (!whole_file_seen)
                refill();
            if (at == end)
                fail("the file ends in the middle");
        }
        const char c = *at;
        if (!in_string) {
            if (depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']'))
                return text;
            depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
        }
        in_string = in_string ? escaped || c != '"' : c == '"';
        escaped = in_string && !escaped && c == '\\';
        text += c;
        ++at;
        if (text.size() > longest_member || depth > 64)
            fail("a member that is too long or too deep for a tensor file");
    }
}

// Reads members up to "values" (true, its '[' is taken) or up to the end of the file (false).
bool ValueStream::State::read_members(bool first)
{
    for (; next_sign() != '}'; first = false) {
        if (!first)
            expect(',');
        next_sign();
        try {
            const std::string key = json::parse(raw_value()).get<std::string>();
            expect(':');
            if (key == "values") {
                if (ended)
                    fail("a second \"values\"");
                expect('[');
                return true;
            }
            if (header.contains(key))
                fail(fmt::format("a second {}", brief_json(key)));
            if (header.size() == most_members)
                fail(fmt::format("more than {} members", most_members));
            header[key] = json::parse(raw_value());
        } catch (const json::exception& error) {
            fail(fmt::format("is not valid JSON: {}", error.what()));
        }
    }
    expect('}');
    if (next_sign() != '\0' || at != end)
        fail("there is something after the end of the tensor");
    return false;
}

void ValueStream::State::check_header() const
{
    const json wanted{{"name", entry.name},
                      {"step", entry.step},
                      {"axes", entry.axes},
                      {"shape", entry.shape},
                      {"dtype", entry.dtype}};
    for (const auto& [key, value] : wanted.items()) {
        if (!header.contains(key))
            throw std::runtime_error(fmt::format("{}: has no \"{}\"", path.string(), key));
        if (header[key] != value)
            throw std::runtime_error(fmt::format("{}: \"{}\" is {}, but trace.json says {}", path.string(),
                                                 key, brief_json(header[key]), brief_json(value)));
    }
}

void ValueStream::State::finish()
{
    ended = true;
    if (count != entry.kept())
        fail(fmt::format("{} values; trace.json says {} {}", count, entry.kept(),
                         entry.values == TraceValues::sample ? "in the sample"
                                                             : "by the shape " + shape_text(entry.shape)));
    read_members(false);
    check_header();
    checked = true;
}

template <typename Number> Number ValueStream::State::read_number()
{
    Number value{};
    if constexpr (std::is_same_v<Number, float>) {
        if (const char* stop = read_plain_float(at, value)) {
            at = const_cast<char*>(stop);
            return value;
        }
    }
    if constexpr (std::is_floating_point_v<Number>) {
        if (*at == '"') {
            const std::string_view rest(at, static_cast<std::size_t>(end - at));
            for (const auto& [text, meaning] :
                 {std::pair(std::string_view("\"NaN\""), std::numeric_limits<Number>::quiet_NaN()),
                  std::pair(std::string_view("\"Infinity\""), std::numeric_limits<Number>::infinity()),
                  std::pair(std::string_view("\"-Infinity\""), -std::numeric_limits<Number>::infinity())})
                if (rest.substr(0, text.size()) == text) {
                    at += text.size();
                    return meaning;
                }
        }
    }
    const char digit = *at == '-' ? at[1] : *at;
    if (digit < '0' || digit > '9')
        fail("a value that is no number (nor \"NaN\", \"Infinity\" or \"-Infinity\")");
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error == std::errc::result_out_of_range) {
        // Too small for the type is zero; too large is no number of this tensor.
        if constexpr (std::is_floating_point_v<Number>)
            value = static_cast<Number>(std::strtod(at, nullptr));
        if (std::is_integral_v<Number> || !std::isfinite(static_cast<double>(value)))
            fail("a number too large for the dtype");
    }
    if (static_cast<std::size_t>(stop - at) > longest_number)
        fail("a number of too many characters");
    at = const_cast<char*>(stop);
    return value;
}

template <typename Number> std::int64_t ValueStream::State::read(Number* values, std::int64_t capacity)
{
    if (std::is_integral_v<Number> && entry.dtype != "I64")
        throw std::runtime_error(
            fmt::format("{}: is {}; only I64 is read as whole numbers", path.string(), entry.dtype));
    if (ended)
        return 0;
    std::int64_t done = 0;
    while (done < capacity) {
        keep_a_number_ahead();
        if (*at != ',' && next_sign() == ']') {  // also an empty list
            ++at;
            finish();
            return done;
        }
        if (count > 0)
            expect(',');
        if (is_space(*at)) {
            next_sign();
            keep_a_number_ahead();
        }
        if (count == entry.kept())
            fail(fmt::format("more values than the {} that trace.json says", count));
        values[done++] = read_number<Number>();
        ++count;
    }
    return done;
}

ValueStream::ValueStream(std::filesystem::path file, const TraceEntry& entry)
    : state_(std::make_unique<State>(std::move(file), entry))
{
}
ValueStream::ValueStream(ValueStream&&) noexcept = default;
ValueStream::~ValueStream() = default;

std::int64_t ValueStream::read(float* values, std::int64_t capacity)
{
    if (state_->entry.dtype != "I64")
        return state_->read(values, capacity);
    std::vector<std::int64_t> whole(static_cast<std::size_t>(std::min<std::int64_t>(capacity, 4096)));
    const std::int64_t count = state_->read(whole.data(), static_cast<std::int64_t>(whole.size()));
    std::copy_n(whole.begin(), count, values);
    return count;
}

std::int64_t ValueStream::read(std::int64_t* values, std::int64_t capacity)
{
    return state_->read(values, capacity);
}

}  // namespace pictor
