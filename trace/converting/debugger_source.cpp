// The JSON of transformers' model_addition_debugger_context as a source.
//
// A tree of calls, each {"module_path", "inputs", "outputs", "children"}. An output is a tensor {"shape":
// "torch.Size([1, 9])", "dtype": "torch.float32", "value": ...} or a list or object of such. "value" is the
// printed tensor line by line (four digits; long tensors with "..." in them, of which only the statistics are
// of use), the relative name of a .safetensors file, or nested lists of numbers. Modules with children keep
// no outputs of their own.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/at.h"
#include "base/json_file.h"
#include "base/memory_map.h"
#include "trace/converting/tensor_source.h"

namespace fs = std::filesystem;
using nlohmann::json;

namespace pictor {
namespace {

constexpr std::uintmax_t largest_file = std::uintmax_t{1} << 29;
constexpr std::uint64_t most_values = 8'000'000;

struct Found {
    std::vector<double> numbers;
    std::string file;  // .safetensors, when the numbers are there
};

class DebuggerSource : public TensorSource {
public:
    explicit DebuggerSource(const fs::path& file) : path_(file)
    {
        producer = "trace convert (transformers debugger)";
        const MappedFile mapped(file);
        if (mapped.size() > largest_file)
            throw std::runtime_error(fmt::format(
                "{}: is larger than {} MB; have the debugger write .safetensors files (use_repr=False)",
                file.string(), largest_file >> 20));
        const json tree = parse_json(mapped.text(), file.string(), most_values);
        if (!tree.is_object() || !tree.contains("module_path"))
            throw std::runtime_error(fmt::format(
                "{}: has no \"module_path\", so it is no tree of transformers' debugger", file.string()));
        add_module(tree);
        if (statistics_only_ > 0)
            notes_.push_back(fmt::format(
                "{} tensors are printed with \"...\" or without numbers; of these only the statistics are "
                "kept (use_repr=False writes all)",
                statistics_only_));
        if (printed_ > 0)
            notes_.push_back(fmt::format(
                "{} tensors are printed with few digits; compare them with a tolerance of 1e-4 and more",
                printed_));
    }
    void read(const SourceTensor& tensor, const Floats& floats, const Integers& integers) override;

private:
    void add_module(const json& node);
    void add_output(const std::string& name, const json& value, int depth);
    void add_tensor(const std::string& name, const json& value);
    Found numbers_of(const json& value, const std::string& where) const;
    std::string unused_name(const std::string& name);

    fs::path path_;
    std::vector<Found> found_;
    std::map<std::string, int> calls_;
    std::int64_t printed_ = 0, statistics_only_ = 0;
};

// "MllamaForConditionalGeneration.model.language_model.norm" -> "language_model.norm".
std::string trace_name(const std::string& module_path)
{
    std::string name = module_path;
    const std::size_t dot = name.find('.');
    name = dot == std::string::npos ? "" : name.substr(dot + 1);
    return name.rfind("model.", 0) == 0 ? name.substr(6) : name;
}

std::string joined(const std::string& name, const std::string& leaf)
{
    return name.empty() ? leaf : name + "." + leaf;
}

// "torch.Size([1, 9, 64])", or a list of numbers.
std::vector<std::int64_t> shape_of(const json& value, const std::string& where)
{
    std::vector<std::int64_t> shape;
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    const char* const end = text.data() + text.size();
    for (const char* at = text.data(); at < end;) {
        std::int64_t extent = 0;
        const auto [stop, error] = std::from_chars(at, end, extent);
        if (error == std::errc()) {
            shape.push_back(extent);
            at = stop;
        } else if (error == std::errc::result_out_of_range || shape.size() > 16)
            throw std::runtime_error(fmt::format("{}: \"shape\" is {}; want such as \"torch.Size([1, 9])\"",
                                                 where, text.substr(0, 100)));
        else
            ++at;
    }
    checked_size(where, shape);
    return shape;
}

// The numbers between the brackets of "tensor([[1.0e+00, nan], [True, 3]], dtype=...)"; empty when some are
// left out.
std::vector<double> printed_numbers(const std::string& text)
{
    std::vector<double> numbers;
    std::size_t at = text.find('(');
    int depth = 0;
    for (at = at == std::string::npos ? 0 : at + 1; at < text.size();) {
        const char c = text[at];
        if (text.compare(at, 3, "...") == 0)
            return {};
        if (c == '[')
            ++depth;
        if (c == ']' && --depth == 0)
            break;
        if (c == ')')
            break;
        const std::size_t end = std::min(text.find_first_of(" ,[])\n", at), text.size());
        if (end == at) {
            ++at;
            continue;
        }
        const std::string word = text.substr(at, end - at);
        char* stop = nullptr;
        const double value = word == "True" ? 1 : word == "False" ? 0 : std::strtod(word.c_str(), &stop);
        if (stop && *stop != '\0')
            return {};
        numbers.push_back(value);
        at = end;
    }
    return numbers;
}

void nested_numbers(const json& value, std::vector<double>& numbers)
{
    if (value.is_array())
        for (const json& each : value)
            nested_numbers(each, numbers);
    else if (value.is_number())
        numbers.push_back(value.get<double>());
    else if (value.is_boolean())
        numbers.push_back(value.get<bool>() ? 1 : 0);
}

// "tensor(1.2345e-01)" or a number.
double statistic(const json& value, const char* key)
{
    if (!value.contains(key))
        return std::numeric_limits<double>::quiet_NaN();
    if (value[key].is_number())
        return value[key].get<double>();
    const std::vector<double> numbers =
        value[key].is_string() ? printed_numbers(value[key].get<std::string>()) : std::vector<double>{};
    return numbers.size() == 1 && std::isfinite(numbers[0]) ? numbers[0]
                                                            : std::numeric_limits<double>::quiet_NaN();
}

TensorStatistics stated_statistics(const json& value, std::int64_t size)
{
    TensorStatistics statistics;
    const double count = static_cast<double>(size), deviation = statistic(value, "std");
    statistics.min = statistic(value, "min");
    statistics.max = statistic(value, "max");
    statistics.mean = statistic(value, "mean");
    statistics.std = size > 1 ? deviation * std::sqrt((count - 1) / count) : 0;  // torch divides by one less
    const double l2 =
        std::sqrt(count * (statistics.mean * statistics.mean + statistics.std * statistics.std));
    statistics.l2 = std::isfinite(l2) ? l2 : 0;
    return statistics;
}

std::string dtype_of(const json& value)
{
    const std::string text =
        value.contains("dtype") && value["dtype"].is_string() ? value["dtype"].get<std::string>() : "";
    if (text.find("bfloat16") != std::string::npos)
        return "BF16";
    if (text.find("float16") != std::string::npos)
        return "F16";
    return text.find("int") != std::string::npos || text.find("bool") != std::string::npos ? "I64" : "F32";
}

// A module that is called several times gets ".call2" and so on.
std::string DebuggerSource::unused_name(const std::string& name)
{
    const int call = ++calls_[name];
    return call == 1 ? name : fmt::format("{}.call{}", name, call);
}

void DebuggerSource::add_module(const json& node)
{
    if (!node.is_object() || !node.contains("module_path") || !node["module_path"].is_string())
        throw std::runtime_error(fmt::format("{}: a node without \"module_path\"", path_.string()));
    if (node.contains("children") && node["children"].is_array())
        for (const json& child : node["children"])
            add_module(child);
    if (node.contains("outputs"))  // after its children: the order of computation
        add_output(trace_name(node["module_path"].get<std::string>()), node["outputs"], 0);
}

void DebuggerSource::add_output(const std::string& name, const json& value, int depth)
{
    if (value.is_object() && value.contains("shape")) {
        add_tensor(unused_name(name.empty() ? "output" : name), value);
    } else if (value.is_object()) {
        for (const auto& [key, each] : value.items())
            add_output(joined(name, key), each, depth + 1);
    } else if (value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i)
            add_output(value.size() == 1 ? name : joined(name, std::to_string(i)), value[i], depth + 1);
    }
}

Found DebuggerSource::numbers_of(const json& value, const std::string& where) const
{
    Found found;
    const json& stated = value.contains("value")  ? value["value"]
                         : value.contains("data") ? value["data"]
                                                  : json();
    if (stated.is_string() && stated.get<std::string>().find(".safetensors") != std::string::npos) {
        const fs::path file(stated.get<std::string>());
        if (file.is_absolute() ||
            std::any_of(file.begin(), file.end(), [](const fs::path& part) { return part == ".."; }))
            throw std::runtime_error(
                fmt::format("{}: file {} is not beside the JSON file", where, file.string()));
        found.file = (path_.parent_path() / file).string();
        return found;
    }
    if (stated.is_array() && !stated.empty() && stated.front().is_string()) {
        std::string text;
        for (const json& line : stated)
            text += (line.is_string() ? line.get<std::string>() : "") + "\n";
        found.numbers = printed_numbers(text);
    } else
        nested_numbers(stated, found.numbers);
    return found;
}

void DebuggerSource::add_tensor(const std::string& name, const json& value)
{
    const std::string where = fmt::format("{}: output of {}", path_.string(), name);
    check_tensor_name(where, name);
    SourceTensor tensor;
    tensor.name = name;
    tensor.shape = shape_of(value["shape"], where);
    tensor.dtype = dtype_of(value);
    Found found = numbers_of(value, where);
    const std::int64_t size = checked_size(where, tensor.shape);
    if (found.file.empty() && static_cast<std::int64_t>(found.numbers.size()) != size) {
        if (!found.numbers.empty())
            throw std::runtime_error(fmt::format("{}: {} numbers for shape {}", where, found.numbers.size(),
                                                 shape_text(tensor.shape)));
        tensor.statistics_only = true;
        tensor.statistics = stated_statistics(value, size);
        ++statistics_only_;
    } else if (found.file.empty() && value.contains("value") && tensor.dtype != "I64")
        ++printed_;
    tensors_.push_back(tensor);
    found_.push_back(std::move(found));
}

void DebuggerSource::read(const SourceTensor& tensor, const Floats& floats, const Integers& integers)
{
    const Found& found = at(found_, &tensor - tensors_.data());
    if (!found.file.empty()) {
        std::error_code ignored;
        if (!fs::is_regular_file(found.file, ignored))
            throw std::runtime_error(fmt::format("{}: output of {}: its file {} is missing", path_.string(),
                                                 tensor.name, found.file));
        const std::unique_ptr<TensorSource> file = open_safetensors(found.file);
        if (file->tensors().size() != 1 || file->tensors()[0].shape != tensor.shape ||
            (file->tensors()[0].dtype == "I64") != (tensor.dtype == "I64"))
            throw std::runtime_error(fmt::format("{}: want one tensor of shape {} and dtype {}", found.file,
                                                 shape_text(tensor.shape), tensor.dtype));
        file->read(file->tensors()[0], floats, integers);
        return;
    }
    if (tensor.dtype == "I64") {
        std::vector<std::int64_t> values;
        for (double number : found.numbers) {
            if (!(std::fabs(number) < 9e15) || number != std::floor(number))
                throw std::runtime_error(fmt::format("{}: output of {}: {} is no whole number",
                                                     path_.string(), tensor.name, number));
            values.push_back(static_cast<std::int64_t>(number));
        }
        integers(values.data(), static_cast<std::int64_t>(values.size()));
        return;
    }
    std::vector<float> values;
    for (double number : found.numbers)
        values.push_back(static_cast<float>(number));
    floats(values.data(), static_cast<std::int64_t>(values.size()));
}

}  // namespace

std::unique_ptr<TensorSource> open_debugger_json(const fs::path& file)
{
    return std::make_unique<DebuggerSource>(file);
}

}  // namespace pictor
