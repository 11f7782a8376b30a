// The one graph of the model: every recorded tensor, what it is computed from, and what it is called.
//
// A row per step of the model. Whoever compares two traces, explains a number or draws a layer reads this
// table; none of them says again what feeds what. To add a step of the model: its row here, its judge in
// explaining/judges.cpp, its sum in why/sums.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace pictor {

// The kinds of layer a step can stand in, or around the layers. A row may hold for several.
enum Where : unsigned {
    around_them = 1,  // in no layer
    in_text_self = 2,
    in_text_cross = 4,
    in_vision_local = 8,
    in_vision_global = 16,
    in_text = in_text_self | in_text_cross,
    in_vision = in_vision_local | in_vision_global,
};

// What an input is to the step. The first three are numbers that flow through; the others steer them.
enum class Role { flow, residual, image, rope, mask, ids };

enum class From {
    layer,        // the tensor of the same layer that bears this leaf
    model,        // the tensor of this name
    before,       // the state that flows into the layer
    last_local,   // the output of the last local vision layer
    last_global,  // of the last global one
    last_text,    // of the last text layer
    kept          // the states that the vision encoder keeps for the projector: the input of each kept layer
};

struct StepInput {
    From from;
    const char* name;  // for From::layer and From::model
    Role role = Role::flow;
};

struct Operation {
    const char* name;     // the whole name around the layers; in a layer the leaf, "" for the layer's output
    unsigned where;       // Where, or several of them
    const char* title;    // what a drawing calls it
    const char* colour;   // a class of the drawings' style sheet
    const char* axes;     // words, one per axis
    const char* chapter;  // chapters/STEM.md explains it
    std::vector<StepInput> inputs;
    bool state = false;  // one of the states that flow from layer to layer
};

// In the order of computation.
const std::vector<Operation>& operations();

// "language_model.layers.3.mlp.gated" -> module "language_model.layers.3", layer 3, leaf "mlp.gated".
struct NameParts {
    std::string module;  // empty: the name has no layer
    std::int64_t layer = -1;
    std::string leaf;  // empty: the layer's own output
    bool vision = false, global = false;
};
NameParts split_name(const std::string& name);

// What of the model's sizes the graph needs.
struct GraphSizes {
    std::vector<std::int64_t> cross_layers, kept_layers;
    std::int64_t n_text_layers = 0, n_vision_layers = 0, n_global_layers = 0;
};

// Whether a trace has a tensor of this name in the step that is looked at.
using HasTensor = std::function<bool(const std::string& name)>;

// Which kind of layer a name belongs to: a text layer is a cross-attention layer where the trace has tensors
// of one.
Where where_is(const NameParts& parts, const HasTensor& has);

// The row of a tensor; nullptr: no step of this model.
const Operation* find_operation(const std::string& name, const HasTensor& has);

// An input of a step with the name it has in a trace.
struct NamedInput {
    std::string name;
    Role role;
};
std::vector<NamedInput> named_inputs(const std::string& name, const GraphSizes& sizes, const HasTensor& has);

// The tensors whose numbers flow into a step; what steers it (angles, masks, ids) is left out. Empty: an
// input of the run.
std::vector<std::string> flowing_inputs(const std::string& name, const GraphSizes& sizes,
                                        const HasTensor& has);

// The state that flows into layer `layer` of the text side; cross-attention layers that did not run are
// passed over.
std::string state_before_text_layer(std::int64_t layer, const GraphSizes& sizes, const HasTensor& has);

// The output of vision layer `layers_done` - 1, or what flows into the first.
std::string local_vision_state(std::int64_t layers_done);

}  // namespace pictor
