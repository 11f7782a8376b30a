// The numbers behind the tensors: of each tensor of two steps one row, and what each tensor is made from.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/at.h"
#include "base/shown_text.h"
#include "trace/graph/operations.h"
#include "viz/drawing/raster.h"
#include "viz/report/report_parts.h"

namespace pictor {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t most_row_numbers = 4096;  // of one tensor

// A part of a tensor: an index for each axis, -1 where every place is shown. The last axis is shown whole,
// and the heads where they fit; of the tokens the last one, which predicts the next word; of the rest the
// first.
std::vector<std::int64_t> shown_part(const TraceEntry& entry)
{
    std::vector<std::int64_t> index(entry.shape.size(), 0);
    const std::size_t last = entry.shape.size() - 1;
    index[last] = -1;
    for (std::size_t axis = 0; axis < last; ++axis) {
        if (entry.axes[axis] == "token")
            index[axis] = entry.shape[axis] - 1;
        const bool heads = entry.axes[axis] == "head" || entry.axes[axis] == "kv_head";
        if (heads && entry.shape[axis] <= most_row_numbers / std::max<std::int64_t>(1, entry.shape[last]))
            index[axis] = -1;
    }
    return index;
}

// The numbers of that part, row-major.
std::vector<float> numbers_of_part(const std::vector<float>& all, const TraceEntry& entry,
                                   const std::vector<std::int64_t>& part)
{
    std::vector<std::int64_t> starts{0};  // of the part's pieces, an axis at a time
    for (std::size_t axis = 0; axis < part.size(); ++axis) {
        std::vector<std::int64_t> finer;
        for (const std::int64_t start : starts)
            for (std::int64_t i = 0; i < entry.shape[axis]; ++i)
                if (part[axis] < 0 || part[axis] == i)
                    finer.push_back(start * entry.shape[axis] + i);
        starts = std::move(finer);
    }
    std::vector<float> numbers;
    for (const std::int64_t position : starts)
        numbers.push_back(at(all, position));
    return numbers;
}

std::string packed(const std::vector<float>& numbers)
{
    std::string bytes(numbers.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return base64(bytes);
}

GraphSizes sizes_in(const Run& run)
{
    GraphSizes sizes;
    sizes.cross_layers = run.cross_layers();
    for (const TraceEntry& entry : run.trace().entries()) {
        const NameParts parts = split_name(entry.name);
        std::int64_t& count = parts.global   ? sizes.n_global_layers
                              : parts.vision ? sizes.n_vision_layers
                                             : sizes.n_text_layers;
        count = std::max(count, parts.layer + 1);
    }
    const auto kept = nlohmann::json::json_pointer("/model/vision/kept_layers");
    const nlohmann::json& header = run.trace().header();
    if (header.contains(kept) && header[kept].is_array())
        for (const auto& layer : header[kept])
            if (layer.is_number_integer() && layer.get<std::int64_t>() < sizes.n_vision_layers)
                sizes.kept_layers.push_back(layer.get<std::int64_t>());
    return sizes;
}

// name -> the tensors it is computed from.
Json inputs_json(const Run& run)
{
    const Trace& trace = run.trace();
    const GraphSizes sizes = sizes_in(run);
    const HasTensor has = [&](const std::string& name) { return trace.find(name, 0) != nullptr; };
    Json result = Json::object();
    for (const TraceEntry& entry : trace.entries()) {
        if (entry.step != 0)
            continue;
        Json names = Json::array();
        for (const std::string& name : flowing_inputs(entry.name, sizes, has))
            if (has(name))
                names.push_back(visible_text(name, 200));
        if (!names.empty())
            result[visible_text(entry.name, 200)] = std::move(names);
    }
    return result;
}

}  // namespace

Json numbers_json(const Run& run, const ReportOptions& options, std::int64_t chosen_word, LeftOut& left_out)
{
    std::vector<std::int64_t> steps{0};
    if (const auto row = run.row_predicting(chosen_word); chosen_word >= 0 && row && row->step != 0)
        steps.push_back(row->step);
    Json rows = Json::object();
    std::int64_t bytes_left = options.number_bytes, without = 0;
    for (const TraceEntry& entry : run.trace().entries()) {
        if (std::find(steps.begin(), steps.end(), entry.step) == steps.end() || entry.shape.empty() ||
            entry.size() == 0)
            continue;
        const std::vector<std::int64_t> part = shown_part(entry);
        const std::int64_t wide = entry.shape.back();
        if (entry.values != TraceValues::all || entry.size() > 300000 || wide > most_row_numbers ||
            bytes_left <= 0) {
            ++without;
            continue;
        }
        const std::string values = packed(numbers_of_part(run.trace().load_kept(entry), entry, part));
        bytes_left -= static_cast<std::int64_t>(values.size());
        rows[fmt::format("{} {}", entry.step, visible_text(entry.name, 200))] = {{"part", part},
                                                                                 {"values", values}};
    }
    if (without > 0)
        left_out.add(fmt::format("{} tensors of steps {} show no row of numbers: sampled, too large, or past "
                                 "the page's share for numbers; `trace show` prints them.",
                                 without, fmt::join(steps, " and ")));
    return {{"steps", steps}, {"rows", std::move(rows)}, {"inputs", inputs_json(run)}};
}

}  // namespace pictor
