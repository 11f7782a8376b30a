#include "trace/explaining/side.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/at.h"
#include "trace/comparing/policy.h"
#include "trace/recording/recorder.h"

using nlohmann::json;

namespace pictor {
namespace {

constexpr std::int64_t numbers_kept = 6
                                      << 20;  // of one side: what later steps of the same layer ask for again
constexpr std::int64_t largest_size = 1 << 20;

// Headers are somebody else's: what is missing or odd is left out.
class Header {
public:
    Header(const json& first, const json& second) : first_(first), second_(second) {}

    const json* find(const char* pointer) const
    {
        const json::json_pointer path(pointer);
        return first_.contains(path)    ? &first_.at(path)
               : second_.contains(path) ? &second_.at(path)
                                        : nullptr;
    }
    std::int64_t size(const char* pointer) const
    {
        const json* value = find(pointer);
        const bool whole = value && value->is_number_unsigned() && value->get<std::uint64_t>() < largest_size;
        return whole ? value->get<std::int64_t>() : 0;
    }
    void real(const char* pointer, double& value) const
    {
        const json* found = find(pointer);
        if (found && found->is_number())
            value = found->get<double>();
    }
    std::vector<std::int64_t> sizes(const char* pointer) const
    {
        std::vector<std::int64_t> result;
        const json* value = find(pointer);
        if (value && value->is_array() && value->size() < 1000)
            for (const json& number : *value)
                if (number.is_number_unsigned() && number.get<std::uint64_t>() < largest_size)
                    result.push_back(number.get<std::int64_t>());
        return result;
    }
    std::vector<double> reals(const char* pointer) const
    {
        std::vector<double> result;
        const json* value = find(pointer);
        if (value && value->is_array() && value->size() == 3)
            for (const json& number : *value)
                result.push_back(number.is_number() ? number.get<double>() : 0);
        return result;
    }

private:
    const json& first_;
    const json& second_;
};

// Every stride-th number of a tensor that is too large to hold.
TraceTensor read_at(const Trace& trace, const TraceEntry& entry, const TraceSample& places)
{
    TraceTensor some{{places.count}, {}};
    ValueStream stream = trace.stream(entry);
    std::vector<float> block(1 << 16);
    std::int64_t first = 0, next = places.start;
    while (const std::int64_t n = stream.read(block.data(), static_cast<std::int64_t>(block.size()))) {
        for (; next < first + n; next += places.stride)
            some.values.push_back(at(block, next - first));
        first += n;
    }
    return some;
}

}  // namespace

ModelFacts read_facts(const Trace& a, const Trace& b)
{
    const Header header(a.header(), b.header());
    ModelFacts facts;
    facts.cross_layers = header.sizes("/model/text/cross_attention_layers");
    facts.kept_layers = header.sizes("/model/vision/kept_layers");
    if (const json* ratios = header.find("/model/vision/aspect_ratios");
        ratios && ratios->is_array() && ratios->size() < 1000)
        for (const json& ratio : *ratios)
            if (ratio.is_array() && ratio.size() == 2 && ratio[0].is_number_unsigned() &&
                ratio[1].is_number_unsigned())
                facts.aspect_ratios.emplace_back(std::min<std::uint64_t>(64, ratio[0].get<std::uint64_t>()),
                                                 std::min<std::uint64_t>(64, ratio[1].get<std::uint64_t>()));
    facts.n_text_layers = header.size("/model/text/n_layers");
    facts.n_vision_layers = header.size("/model/vision/n_layers");
    facts.n_global_layers = header.size("/model/vision/n_global_layers");
    facts.n_patches = header.size("/model/vision/n_patches");
    facts.max_tiles = header.size("/model/vision/max_tiles");
    const std::int64_t tile = header.size("/model/vision/tile_size"),
                       patch = header.size("/model/vision/patch_size");
    if (facts.n_patches == 0 && tile > 0 && patch > 0)
        facts.n_patches = (tile / patch) * (tile / patch) + 1;
    facts.n_padded_patches = (facts.n_patches + 7) / 8 * 8;
    header.real("/model/text/rms_norm_eps", facts.rms_eps);
    header.real("/model/vision/layer_norm_eps", facts.layer_norm_eps);
    header.real("/model/text/rope/theta", facts.rope_theta);
    header.real("/model/text/rope/factor", facts.rope_factor);
    header.real("/model/text/rope/low_freq_factor", facts.rope_low);
    header.real("/model/text/rope/high_freq_factor", facts.rope_high);
    header.real("/model/text/rope/original_length", facts.rope_length);
    if (const json* scaled = header.find("/model/text/rope/scaled"); scaled && scaled->is_boolean())
        facts.rope_scaled = scaled->get<bool>();
    facts.pixel_mean = header.reals("/model/picture/mean");
    facts.pixel_std = header.reals("/model/picture/std");
    return facts;
}

Numbers Side::find(const std::string& name, std::int64_t step) const
{
    const auto key = std::pair(step, name);
    if (const auto kept = kept_.find(key); kept != kept_.end())
        return kept->second;
    const TraceEntry* entry = trace_->find(name, step);
    if (!entry || !entry->whole() || entry->size() > largest_)
        return nullptr;
    return keep(key, trace_->load(*entry));
}

Numbers Side::keep(const std::pair<std::int64_t, std::string>& key, TraceTensor tensor) const
{
    const auto numbers = std::make_shared<TraceTensor>(std::move(tensor));
    kept_.emplace(key, numbers);
    order_.push_back(key);
    kept_numbers_ += static_cast<std::int64_t>(numbers->values.size());
    while (kept_numbers_ > numbers_kept && order_.size() > 1) {
        const auto oldest = kept_.find(order_.front());
        kept_numbers_ -= static_cast<std::int64_t>(oldest->second->values.size());
        kept_.erase(oldest);
        order_.erase(order_.begin());
    }
    return numbers;
}

TraceSample Side::places_of(const std::string& name) const
{
    const TraceEntry* own = entry(name);
    if (!own || own->size() < 1)
        return {0, 1, 0};
    if (own->whole() && own->size() <= largest_)
        return {0, 1, own->size()};
    if (own->values != TraceValues::all)
        return own->values == TraceValues::sample ? own->sample : TraceSample{0, 1, 0};
    const std::int64_t stride = sample_stride(own->size(), std::min(largest_, TraceOptions{}.sample_above));
    return {0, stride, (own->size() + stride - 1) / stride};
}

Numbers Side::find_at(const std::string& name, const TraceSample& places) const
{
    const TraceEntry* own = entry(name);
    if (!own || places.count == 0 ||
        (own->size() - places.start + places.stride - 1) / places.stride != places.count)
        return nullptr;
    if (places.count == own->size())
        return find(name);
    const auto key = std::pair(step_, fmt::format("{} {} {}", name, places.start, places.stride));
    if (const auto kept = kept_.find(key); kept != kept_.end())
        return kept->second;
    if (own->values == TraceValues::sample && own->sample.start == places.start &&
        own->sample.stride == places.stride)
        return keep(key, {{own->kept()}, trace_->load_kept(*own)});
    if (const Numbers numbers = find(name)) {
        TraceTensor some{{places.count}, {}};
        for (std::int64_t place = places.start; place < own->size(); place += places.stride)
            some.values.push_back(at(numbers->values, place));
        return keep(key, std::move(some));
    }
    return own->values == TraceValues::all ? keep(key, read_at(*trace_, *own, places)) : nullptr;
}

std::vector<float> Side::pick(const std::string& name, const std::vector<std::int64_t>& positions) const
{
    std::vector<float> picked(positions.size(), std::numeric_limits<float>::quiet_NaN());
    const TraceSample places = places_of(name);
    const Numbers numbers = find_at(name, places);
    for (std::size_t i = 0; numbers && i < positions.size(); ++i) {
        const std::int64_t place = positions[i] - places.start;
        if (place >= 0 && place % places.stride == 0)
            picked[i] = at(numbers->values, place / places.stride);
    }
    return picked;
}

Numbers Side::rows_so_far(const std::string& name) const
{
    if (step_ == 0)
        return find(name);
    auto all = std::make_shared<TraceTensor>();
    for (std::int64_t step = 0; step <= step_; ++step) {
        const Numbers part = find(name, step);
        if (!part || part->shape.empty())
            return nullptr;
        if (step == 0)
            all->shape = part->shape;
        else if (part->shape.size() != all->shape.size() ||
                 !std::equal(part->shape.begin() + 1, part->shape.end(), all->shape.begin() + 1))
            return nullptr;
        else
            all->shape[0] += part->shape[0];
        if (static_cast<std::int64_t>(all->values.size() + part->values.size()) > largest_)
            return nullptr;
        all->values.insert(all->values.end(), part->values.begin(), part->values.end());
    }
    return all;
}

std::string Side::rounding_of(const std::string& name) const
{
    const TraceEntry* own = entry(name);
    std::string dtype = own ? own->dtype : "F32";
    for (const std::string& input : inputs_of(name))
        if (const TraceEntry* other = entry(input); other && other->dtype != "I64")
            dtype = coarser(dtype, other->dtype);
    return dtype;
}

std::pair<std::int64_t, std::int64_t> Side::grid_of(std::int64_t image) const
{
    const Numbers ids = find("aspect_ratio_ids", 0);
    if (!ids || image >= static_cast<std::int64_t>(ids->values.size()))
        return {0, 0};
    const auto index = static_cast<std::int64_t>(at(ids->values, image)) - 1;
    return index >= 0 && index < static_cast<std::int64_t>(facts_->aspect_ratios.size())
               ? at(facts_->aspect_ratios, index)
               : std::pair<std::int64_t, std::int64_t>{0, 0};
}

std::int64_t width_of(const TraceTensor& tensor, std::size_t axes)
{
    std::int64_t width = 1;
    for (std::size_t i = 0; i < std::min(axes, tensor.shape.size()); ++i)
        width *= tensor.shape[tensor.shape.size() - 1 - i];
    return width;
}

std::int64_t rows_of(const TraceTensor& tensor, std::size_t axes)
{
    const std::int64_t width = width_of(tensor, axes);
    return width > 0 ? static_cast<std::int64_t>(tensor.values.size()) / width : 0;
}

}  // namespace pictor
