// Rows of the table with the names they have in a trace.
#include <algorithm>

#include <fmt/format.h>

#include "trace/graph/operations.h"

namespace pictor {
namespace {

constexpr const char *local_layers = "vision_model.transformer.layers.",
                     *global_layers = "vision_model.global_transformer.layers.",
                     *text_layers = "language_model.layers.";

std::string state_before(const NameParts& parts, const GraphSizes& sizes, const HasTensor& has)
{
    if (!parts.vision)
        return state_before_text_layer(parts.layer, sizes, has);
    if (!parts.global)
        return local_vision_state(parts.layer);
    return parts.layer == 0 ? "vision_model.post_tile_positional_embedding"
                            : fmt::format("{}{}", global_layers, parts.layer - 1);
}

}  // namespace

NameParts split_name(const std::string& name)
{
    NameParts parts;
    for (const std::string start : {text_layers, local_layers, global_layers}) {
        if (!name.starts_with(start))
            continue;
        std::size_t at = start.size();
        std::int64_t layer = 0;
        while (at < name.size() && name[at] >= '0' && name[at] <= '9' && layer < 100000)
            layer = layer * 10 + (name[at++] - '0');
        if (at == start.size() || (at < name.size() && name[at] != '.'))
            return parts;
        parts.module = name.substr(0, at);
        parts.layer = layer;
        parts.leaf = at < name.size() ? name.substr(at + 1) : "";
        parts.vision = start[0] == 'v';
        parts.global = start == global_layers;
    }
    return parts;
}

Where where_is(const NameParts& parts, const HasTensor& has)
{
    if (parts.module.empty())
        return around_them;
    if (parts.vision)
        return parts.global ? in_vision_global : in_vision_local;
    const bool cross = parts.leaf.starts_with("cross_attn.") || parts.leaf == "mlp.gated_output" ||
                       has(parts.module + ".cross_attn.o_proj") || has(parts.module + ".cross_attn.gated") ||
                       has(parts.module + ".mlp.gated_output");
    return cross ? in_text_cross : in_text_self;
}

const Operation* find_operation(const std::string& name, const HasTensor& has)
{
    const NameParts parts = split_name(name);
    const Where where = where_is(parts, has);
    const std::string& wanted = parts.module.empty() ? name : parts.leaf;
    for (const Operation& operation : operations())
        if ((operation.where & where) != 0 && operation.name == wanted)
            return &operation;
    return nullptr;
}

std::vector<NamedInput> named_inputs(const std::string& name, const GraphSizes& sizes, const HasTensor& has)
{
    const Operation* const operation = find_operation(name, has);
    std::vector<NamedInput> inputs;
    if (!operation)
        return inputs;
    const NameParts parts = split_name(name);
    for (const StepInput& input : operation->inputs)
        switch (input.from) {
        case From::layer:
            inputs.push_back({parts.module + "." + input.name, input.role});
            break;
        case From::model:
            inputs.push_back({input.name, input.role});
            break;
        case From::before:
            inputs.push_back({state_before(parts, sizes, has), input.role});
            break;
        case From::last_local:
            inputs.push_back({fmt::format("{}{}", local_layers, sizes.n_vision_layers - 1), input.role});
            break;
        case From::last_global:
            inputs.push_back({fmt::format("{}{}", global_layers, sizes.n_global_layers - 1), input.role});
            break;
        case From::last_text:
            inputs.push_back({state_before_text_layer(sizes.n_text_layers, sizes, has), input.role});
            break;
        case From::kept:
            for (const std::int64_t layer : sizes.kept_layers)
                inputs.push_back({local_vision_state(layer), input.role});
            break;
        }
    return inputs;
}

std::vector<std::string> flowing_inputs(const std::string& name, const GraphSizes& sizes,
                                        const HasTensor& has)
{
    std::vector<std::string> names;
    for (const NamedInput& input : named_inputs(name, sizes, has))
        if (input.role == Role::flow || input.role == Role::residual || input.role == Role::image)
            names.push_back(input.name);
    return names;
}

std::string state_before_text_layer(std::int64_t layer, const GraphSizes& sizes, const HasTensor& has)
{
    while (layer-- > 0) {
        const std::string name = fmt::format("{}{}", text_layers, layer);
        const bool cross = std::find(sizes.cross_layers.begin(), sizes.cross_layers.end(), layer) !=
                           sizes.cross_layers.end();
        if (has(name) || !cross)
            return name;
    }
    return "language_model.embed_tokens";
}

std::string local_vision_state(std::int64_t layers_done)
{
    return layers_done == 0 ? "vision_model.layernorm_pre"
                            : fmt::format("{}{}", local_layers, layers_done - 1);
}

}  // namespace pictor
