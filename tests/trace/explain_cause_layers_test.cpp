// Causes in norms, linear layers, gates, sums and activations.
#include <cmath>
#include <numbers>

#include "tests/trace/explain_fixture.h"

using namespace pictor_test;

namespace {

const std::string vision = "vision_model.transformer.layers.0",
                  global = "vision_model.global_transformer.layers.0";
const std::string self = "language_model.layers.0", cross = "language_model.layers.1";

struct NormStep {
    std::string input, norm;
    std::size_t width;
    bool centred;
    Values x = golden_values(input), right = golden_values(norm);

    // f(x less the mean where centred, what of it the right norm made, mean of squares of the row)
    using Change = std::function<double(double centred, double right, double square)>;
    Values changed(const Change& f) const
    {
        Values values = right;
        for (std::size_t row = 0; row < x.size() / width; ++row) {
            double sum = 0, square = 0;
            for (std::size_t i = 0; i < width; ++i)
                sum += x[row * width + i];
            const double mean = centred ? sum / static_cast<double>(width) : 0;
            for (std::size_t i = 0; i < width; ++i)
                square +=
                    (x[row * width + i] - mean) * (x[row * width + i] - mean) / static_cast<double>(width);
            for (std::size_t i = 0; i < width; ++i)
                values[row * width + i] =
                    static_cast<float>(f(x[row * width + i] - mean, right[row * width + i], square));
        }
        return values;
    }
    void check(const Values& wrong) const { check_cause({{input}}, norm, wrong); }
};

const NormStep& rms()
{
    static const NormStep step{"language_model.embed_tokens", self + ".input_layernorm", 32, false};
    return step;
}

const NormStep& layer()
{
    static const NormStep step{vision + ".residual", vision + ".post_attention_layernorm", 18, true};
    return step;
}

// A norm with weights that grow from channel to channel.
Values normed(const Values& x, std::size_t width, bool centred, bool sample, double weight = 1,
              double growth = 0.1)
{
    Values y = x;
    for (std::size_t row = 0; row < x.size() / width; ++row) {
        double mean = 0, square = 0;
        for (std::size_t i = 0; i < width && centred; ++i)
            mean += x[row * width + i] / static_cast<double>(width);
        for (std::size_t i = 0; i < width; ++i)
            square += (x[row * width + i] - mean) * (x[row * width + i] - mean) /
                      static_cast<double>(sample ? width - 1 : width);
        for (std::size_t i = 0; i < width; ++i)
            y[row * width + i] = static_cast<float>((weight + growth * static_cast<double>(i)) *
                                                    (x[row * width + i] - mean) / std::sqrt(square + 1e-5));
    }
    return y;
}

// The branch of a cross layer before and behind its gate, and tanh of that gate.
struct Gated {
    std::string branch = cross + ".cross_attn.o_proj", gated = cross + ".cross_attn.gated";
    Values x = golden_values(branch), y = golden_values(gated);
    double factor = 0;
    Gated()
    {
        double xx = 0, xy = 0;  // rows that see nothing are zero
        for (std::size_t i = 0; i < x.size(); ++i) {
            xx += static_cast<double>(x[i]) * x[i];
            xy += static_cast<double>(x[i]) * y[i];
        }
        factor = xy / xx;
    }
    // Two factors do not say which of them is right; the checkpoint's gate does.
    void check(double other) const
    {
        const Values wrong = mapped(x, [&](double v) { return other * v; });
        check_cause({.inputs = {branch}, .model = base_checkpoint}, gated, wrong);
        check_found(compare_parts({{branch}}, gated, wrong), gated);
    }
};

double erf_gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::numbers::sqrt2)); }
double tanh_gelu(double x)
{
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}
double quick_gelu(double x) { return x / (1 + std::exp(-1.702 * x)); }
double silu(double x) { return x / (1 + std::exp(-x)); }
double relu(double x) { return std::max(0.0, x); }

// The sum behind attention in the first text layer: the embeddings + o_proj.
void check_residual(const Values& wrong)
{
    check_cause({{"language_model.embed_tokens", self + ".input_layernorm", self + ".self_attn.o_proj"}},
                self + ".residual", wrong);
}

}  // namespace

TEST_CASE("CAUSE norm_eps: another number against division by zero", "[explain]")
{
    rms().check(rms().changed([](double, double right, double square) {
        return right * std::sqrt((square + 1e-5) / (square + 1e-3));
    }));
}

TEST_CASE("CAUSE norm_one_plus_weight: weights that are stored less 1", "[explain]")
{
    rms().check(rms().changed(
        [](double x, double right, double square) { return right + x / std::sqrt(square + 1e-5); }));
}

TEST_CASE("CAUSE norm_weight: the right norm with other weights", "[explain]")
{
    rms().check(reordered(combined(rms().right, rms().right, [](double x, double) { return 1.25 * x; }), 32,
                          [](auto i) { return i; }));
}

TEST_CASE("CAUSE norm_kind: RMSNorm and LayerNorm in each other's place, or the sample's variance",
          "[explain]")
{
    check_cause({.inputs = {rms().input}, .both = {{{rms().norm, 0}, normed(rms().x, 32, false, false)}}},
                rms().norm, normed(rms().x, 32, true, false));
    check_cause(
        {.inputs = {layer().input}, .both = {{{layer().norm, 0}, normed(layer().x, 18, true, false)}}},
        layer().norm, normed(layer().x, 18, false, false));
    // The sample's variance is 18 / 17 times the other: only the checkpoint tells it from other weights.
    const pictor::ModelWeights weights(base_checkpoint);
    const auto weight = weights.find(layer().norm, "weight"), bias = weights.find(layer().norm, "bias");
    Values wrong = normed(layer().x, 18, true, true, 1, 0);
    for (std::size_t i = 0; i < wrong.size(); ++i)
        wrong[i] = wrong[i] * (*weight)[i % 18] + (*bias)[i % 18];
    check_cause({.inputs = {layer().input}, .model = base_checkpoint}, layer().norm, wrong);
}

TEST_CASE("CAUSE norm_missing: the input as it is, or times the weight alone", "[explain]")
{
    rms().check(rms().x);
    layer().check(layer().x);
    rms().check(
        rms().changed([](double, double right, double square) { return right * std::sqrt(square + 1e-5); }));
}

TEST_CASE("CAUSE bias_missing: W x alone", "[explain]")
{
    const std::string input = vision + ".post_attention_layernorm";
    check_cause({.inputs = {input}, .model = base_checkpoint}, vision + ".mlp.fc1",
                by_weights(vision + ".mlp.fc1", golden_values(input), 18));
    check_cause({.inputs = {"vision_model"}, .model = base_checkpoint}, "multi_modal_projector",
                by_weights("multi_modal_projector", golden_values("vision_model"), 72));
}

TEST_CASE("CAUSE weight_transposed: a square matrix taken by columns", "[explain]")
{
    const std::string input = self + ".self_attn.context", output = self + ".self_attn.o_proj";
    const auto weight = pictor::ModelWeights(base_checkpoint).find(output, "weight");  // [32][32]
    const Values x = golden_values(input);
    Values wrong;
    for (std::size_t row = 0; row < 11; ++row)
        for (std::size_t out = 0; out < 32; ++out) {
            double sum = 0;
            for (std::size_t in = 0; in < 32; ++in)
                sum += static_cast<double>(x[row * 32 + in]) * (*weight)[in * 32 + out];
            wrong.push_back(static_cast<float>(sum));
        }
    check_cause({.inputs = {input}, .model = base_checkpoint}, output, wrong);
}

TEST_CASE("CAUSE embedding_scaled: times the root of d_model", "[explain]")
{
    check_cause(
        {{"input_ids"}}, "language_model.embed_tokens",
        mapped(golden_values("language_model.embed_tokens"), [](double x) { return x * std::sqrt(32.0); }));
}

TEST_CASE("CAUSE gate_missing: the branch as it is", "[explain]")
{
    Gated().check(1);
    // The branch before its gate in the sum.
    check_cause({{"language_model.layers.0", Gated().branch, Gated().gated}}, cross + ".residual",
                combined(golden_values("language_model.layers.0"), Gated().x,
                         [](double x, double y) { return x + y; }));
}

TEST_CASE("CAUSE gate_without_tanh: the number in the file", "[explain]")
{
    Gated().check(std::atanh(Gated().factor));
    const pictor::ModelWeights weights(base_checkpoint);
    const std::string tile = "vision_model.pre_tile_positional_embedding",
                      position = "vision_model.gated_positional_embedding";
    const Values before = golden_values("vision_model.patch_embedding"), behind = golden_values(tile);
    const double tile_gate = weights.find(tile, "gate")->at(0), more = tile_gate / std::tanh(tile_gate);
    const Values wrong = combined(before, behind, [&](double x, double y) { return x + more * (y - x); });
    for (const std::string& model :
         {std::string(), base_checkpoint})  // without the weights it is a constant multiple
        check_cause({.inputs = {"aspect_ratio_ids", "vision_model.patch_embedding"}, .model = model}, tile,
                    wrong);
    // One gate weighs two tables against each other: only the weights tell what it does to each.
    const double gate = weights.find(position, "gate")->at(0), change = gate - std::tanh(gate);
    const auto plain = weights.find(position, "embedding"),
               tiles = weights.find(position + ".tile_embedding", "weight");  // [5 x 18], [9][4 x 5 x 18]
    Values positions = golden_values(position);
    for (std::size_t i = 0; i < positions.size(); ++i)
        positions[i] =
            static_cast<float>(positions[i] + change * (tiles->at(6 * 360 + i) - plain->at(i % 90)));
    check_cause({.inputs = {"aspect_ratio_ids", tile}, .model = base_checkpoint}, position, positions);
}

TEST_CASE("CAUSE gate_tanh_twice: tanh of tanh", "[explain]") { Gated().check(std::tanh(Gated().factor)); }
TEST_CASE("CAUSE gate_sigmoid: sigmoid for tanh", "[explain]")
{
    Gated().check(1 / (1 + std::exp(-std::atanh(Gated().factor))));
}
TEST_CASE("CAUSE gate_one_plus: 1 + tanh", "[explain]") { Gated().check(1 + Gated().factor); }
TEST_CASE("CAUSE gate_sign: minus tanh", "[explain]") { Gated().check(-Gated().factor); }
TEST_CASE("CAUSE gate_zero: the branch is dropped", "[explain]") { Gated().check(0); }

TEST_CASE("CAUSE gate_one_minus: 1 - tanh", "[explain]") { Gated().check(1 - Gated().factor); }

TEST_CASE("CAUSE residual_missing: the branch alone", "[explain]")
{
    check_residual(golden_values(self + ".self_attn.o_proj"));
}
TEST_CASE("CAUSE branch_missing: the state alone", "[explain]")
{
    check_residual(golden_values("language_model.embed_tokens"));
}

TEST_CASE("CAUSE branch_sign: the branch is taken off", "[explain]")
{
    check_residual(combined(golden_values("language_model.embed_tokens"),
                            golden_values(self + ".self_attn.o_proj"),
                            [](double x, double y) { return x - y; }));
}

TEST_CASE("CAUSE branch_twice: the branch is added twice", "[explain]")
{
    check_residual(combined(golden_values("language_model.embed_tokens"),
                            golden_values(self + ".self_attn.o_proj"),
                            [](double x, double y) { return x + 2 * y; }));
}

TEST_CASE("CAUSE residual_after_norm: the normalised state goes on", "[explain]")
{
    check_residual(combined(golden_values(self + ".input_layernorm"),
                            golden_values(self + ".self_attn.o_proj"),
                            [](double x, double y) { return x + y; }));
}

TEST_CASE("CAUSE residual_from_layer_input: the second sum starts where the first did", "[explain]")
{
    const std::string module = "language_model.layers.2";
    check_cause({{cross, module + ".residual", module + ".mlp"}}, module,
                combined(golden_values(cross), golden_values(module + ".mlp"),
                         [](double x, double y) { return x + y; }));
}

TEST_CASE("CAUSE exact_gelu: an approximation, or another function", "[explain]")
{
    for (double (*f)(double) : {tanh_gelu, quick_gelu, silu, relu})
        check_cause({{vision + ".mlp.fc1"}}, vision + ".mlp.activation_fn",
                    mapped(golden_values(vision + ".mlp.fc1"), f));
}

TEST_CASE("CAUSE mlp_activation: another function than SiLU, or none", "[explain]")
{
    for (double (*f)(double) : {erf_gelu, tanh_gelu, quick_gelu, relu})
        check_cause({{self + ".mlp.gate_proj"}}, self + ".mlp.act_fn",
                    mapped(golden_values(self + ".mlp.gate_proj"), f));
    check_cause({{self + ".mlp.act_fn", self + ".mlp.gate_proj", self + ".mlp.up_proj"}}, self + ".mlp.gated",
                combined(golden_values(self + ".mlp.gate_proj"), golden_values(self + ".mlp.up_proj"),
                         [](double x, double y) { return x * y; }));
}

TEST_CASE("CAUSE gate_and_up_swapped: one in the other's place", "[explain]")
{
    const std::vector<std::string> inputs{self + ".mlp.act_fn", self + ".mlp.gate_proj",
                                          self + ".mlp.up_proj"};
    const Values activated = golden_values(inputs[0]), gate = golden_values(inputs[1]),
                 up = golden_values(inputs[2]);
    check_cause({inputs}, self + ".mlp.gated",
                combined(activated, gate, [](double x, double y) { return x * y; }));
    check_cause({inputs}, self + ".mlp.gated",
                combined(gate, up, [](double x, double y) { return x * silu(y); }));
    check_cause({{inputs[1], inputs[2]}}, self + ".mlp.act_fn", mapped(up, silu));
}

TEST_CASE("CAUSE mlp_up_missing: the activation alone", "[explain]")
{
    check_cause({{self + ".mlp.act_fn", self + ".mlp.up_proj"}}, self + ".mlp.gated",
                golden_values(self + ".mlp.act_fn"));
}
