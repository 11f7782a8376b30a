// One of the two traces at one step, as the hypotheses of this folder look at it: tensors by name, and the
// sizes of the model that neither of them shows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/at.h"
#include "trace/explaining/model_weights.h"
#include "trace/graph/operations.h"
#include "trace/reading/reader.h"

namespace pictor {

// What the header of a trace says about its model; whatever it does not say is empty or 0.
struct ModelFacts : GraphSizes {
    std::vector<std::pair<std::int64_t, std::int64_t>> aspect_ratios;  // tiles [h][w]; id 1 is the first
    std::int64_t n_patches = 0, n_padded_patches = 0, max_tiles = 0;
    double rms_eps = 1e-5, layer_norm_eps = 1e-5;
    double rope_theta = 500000, rope_factor = 8, rope_low = 1, rope_high = 4, rope_length = 8192;
    bool rope_scaled = true;
    std::vector<double> pixel_mean, pixel_std;
};
ModelFacts read_facts(const Trace& a, const Trace& b);  // a's word first, b's where a is silent

using Numbers = std::shared_ptr<const TraceTensor>;

class Side {
public:
    Side(const Trace& trace, const ModelFacts& facts, const ModelWeights* weights, std::int64_t step,
         std::int64_t largest)
        : trace_(&trace), facts_(&facts), weights_(weights), step_(step), largest_(largest)
    {
    }

    // nullptr: not recorded, not whole, or of more than `largest` numbers.
    Numbers find(const std::string& name) const { return find(name, step_); }
    Numbers find(const std::string& name, std::int64_t step) const;
    // A step that works number by number can be judged on some of them. Which ones of a tensor: all, where it
    // is whole and has no more than `largest`; the sample, where only that was recorded; else as many as a
    // sample would keep.
    TraceSample places_of(const std::string& name) const;
    // Those numbers of a tensor that has the size of the one whose places they are; nullptr: not recorded at
    // these.
    Numbers find_at(const std::string& name, const TraceSample& places) const;
    // The numbers at these flat positions; NaN where they are none of the tensor's places.
    std::vector<float> pick(const std::string& name, const std::vector<std::int64_t>& positions) const;
    // A tensor whose first axis grows with the sentence: the rows of every step so far. nullptr if one is
    // missing.
    Numbers rows_so_far(const std::string& name) const;
    // Tiles [h][w] of a picture by its aspect ratio id; {0, 0}: not recorded, or no id of this model.
    std::pair<std::int64_t, std::int64_t> grid_of(std::int64_t image) const;

    bool has(const std::string& name) const { return trace_->find(name, step_) != nullptr; }
    // The tensors whose numbers flow into this one; empty: an input of the run.
    std::vector<std::string> inputs_of(const std::string& name) const
    {
        return flowing_inputs(name, *facts_, [this](const std::string& other) { return has(other); });
    }
    const Operation* operation_of(const std::string& name) const
    {
        return find_operation(name, [this](const std::string& other) { return has(other); });
    }
    const TraceEntry* entry(const std::string& name) const { return trace_->find(name, step_); }
    // The coarser of a tensor's dtype and its inputs'.
    std::string rounding_of(const std::string& name) const;
    std::int64_t step() const { return step_; }
    std::int64_t first_token() const { return at(trace_->steps(), step_).first_token; }
    const ModelFacts& facts() const { return *facts_; }
    const ModelWeights* weights() const { return weights_; }
    const Trace& trace() const { return *trace_; }

private:
    Numbers keep(const std::pair<std::int64_t, std::string>& key, TraceTensor tensor) const;

    const Trace* trace_;
    const ModelFacts* facts_;
    const ModelWeights* weights_;
    std::int64_t step_, largest_;
    mutable std::map<std::pair<std::int64_t, std::string>, Numbers> kept_;
    mutable std::vector<std::pair<std::int64_t, std::string>> order_;  // of kept_, oldest first
    mutable std::int64_t kept_numbers_ = 0;
};

// Rows and width of a tensor seen as rows of its last axis (or last `axes` axes).
std::int64_t width_of(const TraceTensor& tensor, std::size_t axes = 1);
std::int64_t rows_of(const TraceTensor& tensor, std::size_t axes = 1);

}  // namespace pictor
