#include "reference/checkpoint/weights.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/at.h"
#include "base/safetensors.h"
#include "tests/catch.h"
#include "tests/reference/tiny_checkpoint.h"

using namespace pictor;
using nlohmann::json;
using pictor_test::bytes_of;
using pictor_test::error_of;
using pictor_test::f32;
using pictor_test::floats_of;
using pictor_test::RawTensor;
using pictor_test::RawTensors;
using pictor_test::safetensors_bytes;
using pictor_test::TempFolder;
using pictor_test::tiny_config;
using pictor_test::tiny_tensors;
using pictor_test::TinyCheckpoint;
using pictor_test::write_file;

namespace {

std::vector<float> floats_of(const Matrix& matrix)
{
    std::vector<float> values(static_cast<std::size_t>(matrix.n_out * matrix.n_in));
    for (std::int64_t out = 0; out < matrix.n_out; ++out)
        matrix.widen_row(out, values.data() + out * matrix.n_in);
    return values;
}

// The first 16 bits of a float32 are a BF16; chosen so that nothing is rounded.
RawTensor as_bf16(const RawTensor& tensor)
{
    std::vector<std::uint16_t> halves;
    for (const float value : floats_of(tensor))
        halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    return {"BF16", tensor.shape, bytes_of(halves)};
}

const std::string text_layers = "language_model.model.layers.";

// What a checkpoint's tensors are compared with, by their names in the file.
struct SameAs {
    const RawTensors& tensors;

    std::vector<float> raw(const std::string& name) const { return floats_of(tensors.at(name)); }
    void tensor(const Tensor& tensor, const Shape& shape, const std::string& name) const
    {
        CAPTURE(name);
        CHECK(tensor.shape == shape);
        CHECK(tensor.values == raw(name));
    }
    void matrix(const Matrix& matrix, std::int64_t n_out, const std::string& name) const
    {
        CAPTURE(name);
        CHECK(matrix.n_out == n_out);
        CHECK(floats_of(matrix) == raw(name));
    }
    void norm(const LayerNormWeights& norm, const std::string& name) const
    {
        tensor(norm.weight, {12}, name + ".weight");
        tensor(norm.bias, {12}, name + ".bias");
    }
    void vision_layer(const VisionLayerWeights& layer, const std::string& name) const
    {
        norm(layer.input_layernorm, name + "input_layernorm");
        norm(layer.post_attention_layernorm, name + "post_attention_layernorm");
        matrix(layer.q_proj, 12, name + "self_attn.q_proj.weight");
        matrix(layer.k_proj, 12, name + "self_attn.k_proj.weight");
        matrix(layer.v_proj, 12, name + "self_attn.v_proj.weight");
        matrix(layer.o_proj, 12, name + "self_attn.o_proj.weight");
        matrix(layer.fc1, 10, name + "mlp.fc1.weight");
        tensor(layer.fc1_bias, {10}, name + "mlp.fc1.bias");
        matrix(layer.fc2, 12, name + "mlp.fc2.weight");
        tensor(layer.fc2_bias, {12}, name + "mlp.fc2.bias");
    }
    void text_layer(const TextLayerWeights& layer, const std::string& name) const
    {
        tensor(layer.input_layernorm, {16}, name + "input_layernorm.weight");
        tensor(layer.post_attention_layernorm, {16}, name + "post_attention_layernorm.weight");
        matrix(layer.mlp.gate_proj, 24, name + "mlp.gate_proj.weight");
        matrix(layer.mlp.up_proj, 24, name + "mlp.up_proj.weight");
        matrix(layer.mlp.down_proj, 16, name + "mlp.down_proj.weight");
        if (!layer.is_cross) {
            matrix(layer.self_attention.q_proj, 16, name + "self_attn.q_proj.weight");
            matrix(layer.self_attention.k_proj, 8, name + "self_attn.k_proj.weight");
            matrix(layer.self_attention.v_proj, 8, name + "self_attn.v_proj.weight");
            matrix(layer.self_attention.o_proj, 16, name + "self_attn.o_proj.weight");
            return;
        }
        matrix(layer.cross_attention.q_proj, 16, name + "cross_attn.q_proj.weight");
        matrix(layer.cross_attention.k_proj, 8, name + "cross_attn.k_proj.weight");
        matrix(layer.cross_attention.v_proj, 8, name + "cross_attn.v_proj.weight");
        matrix(layer.cross_attention.o_proj, 16, name + "cross_attn.o_proj.weight");
        tensor(layer.cross_attention.q_norm, {4}, name + "cross_attn.q_norm.weight");
        tensor(layer.cross_attention.k_norm, {4}, name + "cross_attn.k_norm.weight");
        CHECK(layer.attention_gate == raw(name + "cross_attn_attn_gate")[0]);
        CHECK(layer.mlp_gate == raw(name + "cross_attn_mlp_gate")[0]);
    }
};

}  // namespace

TEST_CASE("weights: the shipped model loads whole")
{
    const ModelConfig config = read_config("models/pictor");
    const Weights weights = load_weights("models/pictor", config);
    CHECK(weights.unexpected.empty());
    CHECK(weights.aligned_copies.empty());
    CHECK(weights.text.layers.size() == 10);
    CHECK(weights.text.layers[3].is_cross);
    CHECK_FALSE(weights.text.layers[4].is_cross);
    CHECK(weights.text.embed_tokens.n_out == 520);
    CHECK(weights.text.lm_head.n_out == 512);
    CHECK(weights.vision.layers.size() == 6);
    CHECK(weights.vision.global_layers.size() == 2);
    CHECK(weights.vision.patch_embedding.n_in == 3 * 14 * 14);
    CHECK(weights.vision.tile_position_embedding.shape == Shape{9, 4, 65 * 96});
    CHECK(weights.vision.pre_tile_embedding.shape == Shape{9, 4, 96});
    CHECK(weights.projector.weight.n_in == 384);
    CHECK(weights.text.layers[8].cross_attention.q_norm.shape == Shape{16});
    CHECK(weights.text.layers[8].attention_gate != 0.0f);
    CHECK(weights.vision.global_layers[1].gate_ffn != 0.0f);
    // The matrices lie in the mapped file: nothing was copied.
    const SafetensorsFile& file = *weights.files.front();
    CHECK(weights.text.lm_head.data == file.find("language_model.lm_head.weight")->data);
}

TEST_CASE("weights: every parameter of the vision encoder lands where its name says")
{
    const RawTensors tensors = tiny_tensors();
    const TinyCheckpoint checkpoint(tensors);
    const Weights weights = checkpoint.load();
    CHECK(weights.unexpected.empty());
    const SameAs same{tensors};
    const VisionWeights& vision = weights.vision;
    same.matrix(vision.patch_embedding, 12, "vision_model.patch_embedding.weight");
    same.tensor(vision.class_embedding, {12}, "vision_model.class_embedding");
    CHECK(vision.pre_tile_gate == same.raw("vision_model.pre_tile_positional_embedding.gate")[0]);
    CHECK(vision.post_tile_gate == same.raw("vision_model.post_tile_positional_embedding.gate")[0]);
    CHECK(vision.position_gate == same.raw("vision_model.gated_positional_embedding.gate")[0]);
    same.tensor(vision.pre_tile_embedding, {4, 2, 12},
                "vision_model.pre_tile_positional_embedding.embedding.weight");
    same.tensor(vision.post_tile_embedding, {4, 2, 12},
                "vision_model.post_tile_positional_embedding.embedding.weight");
    same.tensor(vision.position_embedding, {5, 12}, "vision_model.gated_positional_embedding.embedding");
    same.tensor(vision.tile_position_embedding, {4, 2, 60},
                "vision_model.gated_positional_embedding.tile_embedding.weight");
    same.norm(vision.layernorm_pre, "vision_model.layernorm_pre");
    same.norm(vision.layernorm_post, "vision_model.layernorm_post");

    const std::string global = "vision_model.global_transformer.layers.0.";
    same.vision_layer(vision.layers.at(0), "vision_model.transformer.layers.0.");
    same.vision_layer(vision.layers.at(1), "vision_model.transformer.layers.1.");
    same.vision_layer(vision.global_layers.at(0), global);
    CHECK_FALSE(vision.layers[1].is_global);
    CHECK(vision.global_layers[0].is_global);
    CHECK(vision.global_layers[0].gate_attn == same.raw(global + "gate_attn")[0]);
    CHECK(vision.global_layers[0].gate_ffn == same.raw(global + "gate_ffn")[0]);
}

TEST_CASE("weights: every parameter of projector and text lands where its name says")
{
    const RawTensors tensors = tiny_tensors();
    const TinyCheckpoint checkpoint(tensors);
    const Weights weights = checkpoint.load();
    const SameAs same{tensors};
    same.matrix(weights.projector.weight, 16, "multi_modal_projector.weight");
    same.tensor(weights.projector.bias, {16}, "multi_modal_projector.bias");
    for (const int number : {0, 1, 2}) {
        const TextLayerWeights& layer = at(weights.text.layers, number);
        CHECK(layer.is_cross == (number == 1));
        same.text_layer(layer, text_layers + std::to_string(number) + ".");
    }
    same.matrix(weights.text.embed_tokens, 28, "language_model.model.embed_tokens.weight");
    same.tensor(weights.text.norm, {16}, "language_model.model.norm.weight");
    same.matrix(weights.text.lm_head, 20, "language_model.lm_head.weight");
}

TEST_CASE("weights: the newer names mean the same")
{
    RawTensors renamed;
    for (const auto& [name, tensor] : tiny_tensors()) {
        std::string other = "model." + name;
        if (name.starts_with("language_model.model."))
            other = "model.language_model." + name.substr(std::string("language_model.model.").size());
        else if (name.starts_with("language_model.lm_head."))
            other = name.substr(std::string("language_model.").size());
        renamed[other] = tensor;
    }
    const TinyCheckpoint old_names(tiny_tensors()), new_names(renamed);
    const Weights a = old_names.load(), b = new_names.load();
    CHECK(b.unexpected.empty());
    CHECK(floats_of(a.text.lm_head) == floats_of(b.text.lm_head));
    CHECK(floats_of(a.text.embed_tokens) == floats_of(b.text.embed_tokens));
    CHECK(floats_of(a.text.layers[1].cross_attention.v_proj) ==
          floats_of(b.text.layers[1].cross_attention.v_proj));
    CHECK(a.vision.class_embedding.values == b.vision.class_embedding.values);
    CHECK(a.projector.bias.values == b.projector.bias.values);

    renamed.erase("lm_head.weight");
    CHECK_THAT(TinyCheckpoint(renamed).error(), ContainsSubstring("1 tensor missing: lm_head.weight"));
}

TEST_CASE("weights: dtypes may be mixed, and tensors may lie at odd addresses")
{
    RawTensors tensors = tiny_tensors();
    for (const char* name : {"language_model.lm_head.weight", "vision_model.class_embedding"})
        tensors[name] = as_bf16(tensors[name]);
    tensors["vision_model.layernorm_pre.bias"] = {
        "F16", {12}, bytes_of(std::vector<std::uint16_t>(12, 0xbc00))};
    tensors["multi_modal_projector.weight"] = {
        "F16", {16, 24}, bytes_of(std::vector<std::uint16_t>(16 * 24, 0x3800))};

    for (const bool odd : {false, true}) {
        CAPTURE(odd);
        const TinyCheckpoint checkpoint(tensors, odd);
        const Weights weights = checkpoint.load();
        CHECK(weights.text.lm_head.dtype == DType::bf16);
        const float wanted = floats_of(tiny_tensors()["language_model.lm_head.weight"])[37];
        CHECK(floats_of(weights.text.lm_head)[37] == Approx(wanted).epsilon(1.0 / 128));
        CHECK(weights.vision.class_embedding.values[3] ==
              Approx(floats_of(tiny_tensors()["vision_model.class_embedding"])[3]).epsilon(1.0 / 128));
        CHECK(weights.vision.layernorm_pre.bias.values == std::vector<float>(12, -1.0f));
        CHECK(weights.projector.weight.dtype == DType::f16);
        CHECK(floats_of(weights.projector.weight) == std::vector<float>(16 * 24, 0.5f));
        CHECK(floats_of(weights.text.embed_tokens) ==
              floats_of(tensors["language_model.model.embed_tokens.weight"]));
        CHECK(weights.aligned_copies.empty() == !odd);  // only what lies badly is copied
        CHECK(reinterpret_cast<std::uintptr_t>(weights.text.embed_tokens.data) % sizeof(float) == 0);
    }
}

TEST_CASE("weights: shards make one model, and stay mapped when the weights move")
{
    const RawTensors tensors = tiny_tensors();
    RawTensors shards[3];
    json map;
    int next = 0;
    for (const auto& [name, tensor] : tensors) {
        map[name] = "shard-" + std::to_string(next % 3) + ".safetensors";
        shards[next++ % 3][name] = tensor;
    }
    const TempFolder folder;
    write_file(folder.path / "config.json", tiny_config().dump());
    for (int shard = 0; shard < 3; ++shard)
        write_file(folder.path / ("shard-" + std::to_string(shard) + ".safetensors"),
                   safetensors_bytes(shards[shard]));
    write_file(folder.path / "model.safetensors.index.json", json{{"weight_map", map}}.dump());

    Weights first = load_weights(folder.path, read_config(folder.path));
    const Weights weights = std::move(first);
    CHECK(weights.files.size() == 3);
    CHECK(weights.unexpected.empty());
    CHECK(floats_of(weights.text.lm_head) == floats_of(tensors.at("language_model.lm_head.weight")));
    CHECK(floats_of(weights.vision.patch_embedding) ==
          floats_of(tensors.at("vision_model.patch_embedding.weight")));
}

TEST_CASE(
    "TRAP embedding_rows: the table has 8 rows more than the vocabulary, and the LM head has none of them",
    "[trap]")
{
    const RawTensors tensors = tiny_tensors();
    const TinyCheckpoint checkpoint(tensors);
    const Weights weights = checkpoint.load();
    REQUIRE(checkpoint.config.image_token == checkpoint.config.text.n_vocabulary);
    std::vector<float> row(16);
    weights.text.embed_tokens.widen_row(checkpoint.config.image_token, row.data());
    const std::vector<float> table = floats_of(tensors.at("language_model.model.embed_tokens.weight"));
    CHECK(row == std::vector<float>(table.begin() + 20 * 16, table.begin() + 21 * 16));
    CHECK(weights.text.lm_head.n_out == checkpoint.config.text.n_vocabulary);

    RawTensors without = tensors;
    without["language_model.model.embed_tokens.weight"] = f32({20, 16}, std::vector<float>(20 * 16, 1.0f));
    CHECK_THAT(
        TinyCheckpoint(without).error(),
        ContainsSubstring("language_model.model.embed_tokens.weight is F32 [20, 16], wanted [28, 16]"));
    RawTensors tied = tensors;
    tied["language_model.lm_head.weight"] = f32({28, 16}, std::vector<float>(28 * 16, 1.0f));
    CHECK_THAT(TinyCheckpoint(tied).error(),
               ContainsSubstring("language_model.lm_head.weight is F32 [28, 16], wanted [20, 16]"));
}

TEST_CASE("weights: missing, unexpected and misshapen tensors are all named")
{
    RawTensors tensors = tiny_tensors();
    const RawTensor norm = tensors["language_model.model.norm.weight"];
    tensors.erase("language_model.model.norm.weight");
    tensors["language_model.model.norm.weights"] = norm;
    tensors["multi_modal_projector.bias"] = f32({4, 4}, std::vector<float>(16, 1.0f));
    tensors["vision_model.class_embedding"] = {"I64", {12}, bytes_of(std::vector<std::int64_t>(12, 1))};
    const TinyCheckpoint checkpoint(tensors);
    const std::string error = checkpoint.error();
    CHECK_THAT(error, ContainsSubstring(checkpoint.folder.path.string()));
    CHECK_THAT(error, ContainsSubstring("1 tensor missing: language_model.model.norm.weight"));
    CHECK_THAT(error, ContainsSubstring("2 tensors wrong"));
    CHECK_THAT(error, ContainsSubstring("multi_modal_projector.bias is F32 [4, 4], wanted [16]"));
    CHECK_THAT(error, ContainsSubstring("vision_model.class_embedding is I64, wanted F32, BF16 or F16"));
    CHECK_THAT(error, ContainsSubstring("1 tensor unexpected: language_model.model.norm.weights"));

    RawTensors few;
    few["language_model.model.norm.weight"] = norm;
    const std::string many = TinyCheckpoint(few).error();
    const std::size_t missing = tiny_tensors().size() - 1;
    CHECK_THAT(many, ContainsSubstring(std::to_string(missing) + " tensors missing"));
    CHECK_THAT(many, ContainsSubstring("and " + std::to_string(missing - 8) + " more"));
    CHECK(many.size() < 1000);

    RawTensors more = tiny_tensors();
    more["rotary_emb.inv_freq"] = f32({2}, {1, 2});
    const TinyCheckpoint with_more(more);
    CHECK(with_more.load().unexpected == std::vector<std::string>{"rotary_emb.inv_freq"});
}

TEST_CASE("weights: NaN and infinity are refused wherever they stand")
{
    const float nan = std::numeric_limits<float>::quiet_NaN(),
                infinity = std::numeric_limits<float>::infinity();
    const std::vector<std::pair<std::string, float>> faults{
        {"vision_model.class_embedding", nan},
        {"vision_model.gated_positional_embedding.gate", -infinity},
        {"language_model.model.layers.1.cross_attn.q_norm.weight", infinity},
        {"language_model.model.layers.2.self_attn.k_proj.weight", nan},
        {"language_model.model.embed_tokens.weight", infinity},
        {"vision_model.patch_embedding.weight", nan},
    };
    for (const bool odd : {false, true})
        for (const auto& [name, value] : faults) {
            CAPTURE(name, value, odd);
            RawTensors tensors = tiny_tensors();
            std::memcpy(tensors[name].bytes.data() + tensors[name].bytes.size() - sizeof value, &value,
                        sizeof value);
            CHECK_THAT(TinyCheckpoint(tensors, odd).error(),
                       ContainsSubstring(name + " holds NaN or infinity"));
            tensors[name] = as_bf16(tensors[name]);
            CHECK_THAT(TinyCheckpoint(tensors, odd).error(),
                       ContainsSubstring(name + " holds NaN or infinity"));
        }
    RawTensors tensors = tiny_tensors();
    std::vector<std::uint16_t> halves(20 * 16, 0x7bff);  // the largest F16, finite
    tensors["language_model.lm_head.weight"] = {"F16", {20, 16}, bytes_of(halves)};
    CHECK(TinyCheckpoint(tensors).error().empty());
    halves[100] = 0xfc00;  // -infinity
    tensors["language_model.lm_head.weight"] = {"F16", {20, 16}, bytes_of(halves)};
    CHECK_THAT(TinyCheckpoint(tensors).error(), ContainsSubstring("lm_head.weight holds NaN or infinity"));
}
