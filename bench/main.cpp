// Times of single layers at the real model's dimensions, with synthetic weights, and of the shipped model
// inside the process. Prints one JSON; bench/compare.py runs it beside PyTorch and prints the ratios.
//
//   bench layer vision|cross|self REPEAT [TRACE-DIR]
//   bench linear ROWS OUT IN REPEAT                      the steps of chapter 21, as a table
//   bench json COUNT REPEAT                             numbers to JSON text
//   bench peaks                                          what processor and memory can do at most
//   bench rows ROWS OUT IN f32|bf16 REPEAT               linear alone at one shape
//   bench model DIR INPUTS.safetensors STEPS REPEAT      prefill, then greedy steps
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <omp.h>

#include "bench/json_numbers.h"
#include "bench/linear_steps.h"
#include "bench/peaks.h"
#include "reference/forward.h"
#include "reference/generate.h"
#include "reference/text/decoder.h"

namespace pictor {

namespace {

double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The most memory that this process ever held. getrusage would count what the parent held before it started
// us.
double peak_memory_gb()
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind("VmHWM:", 0) == 0)
            return std::strtod(line.c_str() + 6, nullptr) * 1024 / 1e9;
    throw std::runtime_error("peak memory: /proc/self/status does not report it");
}

// Weights of any size that live as long as this object.
struct SyntheticWeights {
    std::deque<Tensor> storage;
    std::mt19937 random{1};

    Tensor vector(std::int64_t size, float around)
    {
        std::normal_distribution<float> normal(around, 0.02f);
        Tensor tensor({size});
        for (float& value : tensor.values)
            value = normal(random);
        return tensor;
    }

    Matrix matrix(std::int64_t n_out, std::int64_t n_in)
    {
        // Random rows are drawn once and shifted: hundreds of millions of draws would take longer than the
        // layer.
        const Tensor drawn = vector(8191, 0.0f);
        Tensor& tensor = storage.emplace_back(Shape{n_out, n_in});
        for (std::int64_t i = 0; i < tensor.size(); ++i)
            tensor.data()[i] = drawn.data()[i % 8191];
        return {tensor.data(), DType::f32, n_out, n_in, "synthetic"};
    }
};

Tensor random_states(Shape shape)
{
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    Tensor states(std::move(shape));
    for (float& value : states.values)
        value = normal(random);
    return states;
}

TextConfig text_11b()
{
    TextConfig config;
    config.d_model = 4096;
    config.n_heads = 32;
    config.n_kv_heads = 8;
    config.d_head = 128;
    config.d_mlp = 14336;
    config.rope.scaled = true;
    return config;
}

TextMlpWeights text_mlp_weights(SyntheticWeights& make, const TextConfig& config)
{
    return {make.matrix(config.d_mlp, config.d_model), make.matrix(config.d_mlp, config.d_model),
            make.matrix(config.d_model, config.d_mlp)};
}

std::function<void(const Recorder&)> vision_layer_at_real_size(SyntheticWeights& make)
{
    VisionConfig config;
    config.d_model = 1280;
    config.n_heads = 16;
    config.d_head = 80;
    config.d_mlp = 5120;
    VisionLayerWeights layer;
    layer.input_layernorm = {make.vector(1280, 1), make.vector(1280, 0)};
    layer.post_attention_layernorm = {make.vector(1280, 1), make.vector(1280, 0)};
    for (Matrix* matrix : {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj})
        *matrix = make.matrix(1280, 1280);
    layer.fc1 = make.matrix(5120, 1280);
    layer.fc1_bias = make.vector(5120, 0);
    layer.fc2 = make.matrix(1280, 5120);
    layer.fc2_bias = make.vector(1280, 0);
    const Tensor hidden = random_states({1, 4, 1608, 1280});
    std::vector<std::uint8_t> padding(4 * 1608);
    for (std::size_t row = 0; row < padding.size(); ++row)
        padding[row] = row % 1608 >= 1601 ? 1 : 0;
    return [=](const Recorder& record) { vision_layer(layer, config, hidden, padding, record); };
}

std::function<void(const Recorder&)> cross_layer_at_real_size(SyntheticWeights& make)
{
    const TextConfig config = text_11b();
    TextLayerWeights layer;
    layer.is_cross = true;
    layer.input_layernorm = layer.post_attention_layernorm = make.vector(4096, 1);
    layer.cross_attention = {make.matrix(4096, 4096), make.matrix(1024, 4096), make.matrix(1024, 4096),
                             make.matrix(4096, 4096), make.vector(128, 1),     make.vector(128, 1)};
    layer.attention_gate = layer.mlp_gate = 0.5f;
    layer.mlp = text_mlp_weights(make, config);
    const Tensor hidden = random_states({64, 4096}), images = random_states({1, 4, 1601, 4096});
    const CrossAttentionMask mask{64, 1, 4, std::vector<std::int64_t>(64 * 4, 1)};
    return [=](const Recorder& record) {
        KeysAndValues image;
        text_cross_layer(layer, config, hidden, images, mask, image, Rule::meta, record);
    };
}

std::function<void(const Recorder&)> self_layer_at_real_size(SyntheticWeights& make)
{
    const TextConfig config = text_11b();
    TextLayerWeights layer;
    layer.input_layernorm = layer.post_attention_layernorm = make.vector(4096, 1);
    layer.self_attention = {make.matrix(4096, 4096), make.matrix(1024, 4096), make.matrix(1024, 4096),
                            make.matrix(4096, 4096)};
    layer.mlp = text_mlp_weights(make, config);
    const Tensor hidden = random_states({64, 4096});
    const RopeAngles angles = rope_angles(config.rope, config.d_head, 0, 64);
    return [=](const Recorder& record) {
        KeysAndValues cache;
        text_self_layer(layer, config, hidden, angles, cache, record);
    };
}

nlohmann::json time_layer(const std::string& kind, int repeat, const std::string& trace)
{
    SyntheticWeights make;
    const auto layer =
        kind == "vision"  ? vision_layer_at_real_size(make)
        : kind == "cross" ? cross_layer_at_real_size(make)
        : kind == "self"
            ? self_layer_at_real_size(make)
            : throw std::runtime_error(fmt::format("layer {}: wanted vision, cross or self", kind));
    std::optional<TraceWriter> writer;
    if (!trace.empty()) {
        TraceOptions options;
        options.folder = trace;
        options.force = true;
        writer.emplace(options);
        writer->begin_step("prefill", 0, 64);
    }
    std::vector<double> times;
    for (int i = 0; i < repeat; ++i) {
        const double start = seconds();
        layer(writer ? writer->recorder() : Recorder());
        times.push_back(seconds() - start);
    }
    if (writer)
        writer->finish();
    return {{"seconds", times}, {"peak_memory_gb", peak_memory_gb()}};
}

nlohmann::json time_model(const std::string& folder, const std::string& inputs_file, std::int64_t n_steps,
                          int repeat)
{
    const Model model = load_model(folder, Rule::meta);
    const GenerateInputs inputs = read_forward_inputs(inputs_file, model.config);
    std::vector<double> prefill_times, decode_times;
    for (int i = 0; i < repeat; ++i) {
        Sequence sequence;
        RandomNumbers random;
        double start = seconds();
        Tensor logits = prefill(model, inputs.token_ids, inputs.images, inputs.mask, sequence, {});
        prefill_times.push_back(seconds() - start);
        start = seconds();
        for (std::int64_t step = 0; step < n_steps; ++step)
            logits = decode(model, {sample(logits.row(logits.extent(0) - 1), logits.extent(1), {}, random)},
                            sequence, {});
        decode_times.push_back(seconds() - start);
    }
    return {{"prefill", prefill_times}, {"decode", decode_times}};
}

}  // namespace

}  // namespace pictor

int main(int argc, char** argv)
{
    const std::vector<std::string> words(argv + 1, argv + argc);
    omp_set_num_threads(2);
    try {
        nlohmann::json result;
        if (words.size() >= 3 && words[0] == "layer")
            result =
                pictor::time_layer(words[1], std::atoi(words[2].c_str()), words.size() > 3 ? words[3] : "");
        else if (words.size() == 5 && words[0] == "model")
            result = pictor::time_model(words[1], words[2], std::atoi(words[3].c_str()),
                                        std::atoi(words[4].c_str()));
        else if (words.size() == 3 && words[0] == "json")
            result = pictor::time_json_numbers(std::atoll(words[1].c_str()), std::atoi(words[2].c_str()));
        else if (words.size() == 1 && words[0] == "peaks")
            result = pictor::measure_peaks();
        else if (words.size() == 6 && words[0] == "rows")
            result = pictor::time_linear(std::atoll(words[1].c_str()), std::atoll(words[2].c_str()),
                                         std::atoll(words[3].c_str()), words[4], std::atoi(words[5].c_str()));
        else if (words.size() == 5 && words[0] == "linear")
            return pictor::print_linear_steps(std::atoll(words[1].c_str()), std::atoll(words[2].c_str()),
                                              std::atoll(words[3].c_str()), std::atoi(words[4].c_str()));
        else
            throw std::runtime_error(
                "usage: bench layer vision|cross|self REPEAT [TRACE-DIR], bench model DIR INPUTS STEPS "
                "REPEAT, bench json COUNT REPEAT, bench linear ROWS OUT IN REPEAT, bench rows ROWS OUT IN "
                "f32|bf16 REPEAT, or bench peaks");
        fmt::print("{}\n", result.dump());
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 2;
    }
}
