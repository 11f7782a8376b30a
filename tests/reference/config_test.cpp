#include "reference/checkpoint/config.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/json_file.h"
#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

using nlohmann::json;
using pictor::ModelConfig;
using pictor::read_config;
using pictor_test::error_of;
using pictor_test::TempFolder;
using pictor_test::tiny_config;
using pictor_test::write_file;

namespace {

// Reads the tiny model's config after an edit.
ModelConfig read_edited(const std::function<void(json&)>& edit)
{
    const TempFolder folder;
    json config = tiny_config();
    edit(config);
    write_file(folder.path / "config.json", config.dump());
    return read_config(folder.path);
}

// One fault: the field at `pointer` gets `value` (or goes, when value is discarded), and the message must
// hold these.
struct Fault {
    std::string pointer;
    json value;
    std::vector<std::string> message;
};

const json gone = json(json::value_t::discarded);

void set_or_remove(json& file, const std::string& pointer, const json& value)
{
    const json::json_pointer where(pointer);
    if (value.is_discarded())
        file.at(where.parent_pointer()).erase(where.back());
    else
        file[where] = value;
}

}  // namespace

TEST_CASE("config: the shipped model")
{
    const ModelConfig config = read_config("models/pictor");
    CHECK(config.text.n_vocabulary == 512);
    CHECK(config.text.d_model == 128);
    CHECK(config.text.n_layers == 10);
    CHECK(config.text.n_heads == 8);
    CHECK(config.text.n_kv_heads == 4);
    CHECK(config.text.d_head == 16);
    CHECK(config.text.d_mlp == 320);
    CHECK(config.text.cross_attention_layers == std::vector<std::int64_t>{3, 8});
    CHECK(config.text.is_cross_attention_layer(8));
    CHECK_FALSE(config.text.is_cross_attention_layer(4));
    CHECK(config.text.rms_norm_eps == 1e-5f);
    CHECK(config.text.rope.scaled);
    CHECK(config.text.rope.theta == 500000.0);
    CHECK(config.text.rope.factor == 8.0);
    CHECK(config.text.rope.original_length == 8192);
    CHECK(config.vision.d_head == 16);
    CHECK(config.vision.patches_per_side() == 8);
    CHECK(config.vision.n_patches() == 65);
    CHECK(config.vision.n_padded_patches() == 72);
    CHECK(config.vision.kept_layers == std::vector<std::int64_t>{1, 3, 4});
    CHECK(config.vision.d_output() == 384);
    CHECK(config.vision.aspect_ratios.size() == 8);
    CHECK(config.vision.aspect_ratios[3] == std::array<std::int64_t, 2>{1, 4});
    CHECK(config.image.mean == std::array<double, 3>{0.5, 0.5, 0.5});
    CHECK(config.image.tile_size == 112);
    CHECK(config.image_token == 512);
    CHECK(config.bos_token == 480);
    CHECK(config.end_tokens == std::vector<std::int64_t>{481, 488, 489});
}

TEST_CASE("config: what the described sizes hold")
{
    const json described = describe_config(read_config("models/pictor"));
    CHECK(described.at("text").at("d_model") == 128);
    CHECK(described.at("vision").at("n_padded_patches") == 72);
    CHECK(described.at("picture").at("std") == json({0.5, 0.5, 0.5}));
    CHECK(described.at("image_token") == 512);
    CHECK(described.at("text").at("rms_norm_eps").dump() == "1e-05");
}

TEST_CASE("config: older and newer files say the same in other words")
{
    const ModelConfig old_words = read_edited([](json&) {});
    CHECK(old_words.text.rope.scaled);
    CHECK(old_words.text.rope.original_length == 32);
    CHECK(old_words.end_tokens == std::vector<std::int64_t>{2});
    CHECK(old_words.image.mean[0] == 0.48145466);  // CLIP's, when no preprocessor is described

    const ModelConfig new_words = read_edited([](json& config) {
        json& text = config["text_config"];
        text["rope_parameters"] = text["rope_scaling"];
        text["rope_parameters"]["rope_theta"] = 10000.0;
        text.erase("rope_scaling");
        text.erase("rope_theta");
        json& vision = config["vision_config"];
        vision["num_attention_heads"] = vision["attention_heads"];
        vision.erase("attention_heads");
        vision["image_size"] = {8, 8};
        config["image_token_id"] = 21;
        config.erase("image_token_index");
    });
    CHECK(new_words.text.rope.scaled);
    CHECK(new_words.text.rope.theta == 10000.0);
    CHECK(new_words.vision.n_heads == 3);
    CHECK(new_words.vision.tile_size == 8);
    CHECK(new_words.image_token == 21);

    const ModelConfig oldest = read_edited([](json& config) {
        json& rope = config["text_config"]["rope_scaling"];
        rope["type"] = rope["rope_type"];
        rope.erase("rope_type");
    });
    CHECK(oldest.text.rope.scaled);
    const ModelConfig unscaled =
        read_edited([](json& config) { config["text_config"]["rope_scaling"] = nullptr; });
    CHECK_FALSE(unscaled.text.rope.scaled);
    CHECK(unscaled.text.rope.theta == 500000.0);
    const ModelConfig plain = read_edited([](json& config) {
        config["text_config"]["rope_scaling"] = {{"rope_type", "default"}};
    });
    CHECK_FALSE(plain.text.rope.scaled);
}

TEST_CASE("config: fields that real files leave out")
{
    const ModelConfig config = read_edited([](json& file) {
        for (const char* field :
             {"hidden_act", "rms_norm_eps", "rope_theta", "max_position_embeddings", "tie_word_embeddings"})
            file["text_config"].erase(field);
        for (const char* field :
             {"hidden_act", "norm_eps", "num_channels", "max_num_tiles", "supported_aspect_ratios"})
            file["vision_config"].erase(field);
    });
    CHECK(config.text.rms_norm_eps == 1e-5f);
    CHECK(config.text.rope.theta == 500000.0);
    CHECK(config.text.max_positions == 131072);
    CHECK(config.vision.layer_norm_eps == 1e-5f);
    CHECK(config.vision.max_tiles == 4);
    CHECK(config.vision.aspect_ratios == std::vector<std::array<std::int64_t, 2>>{
                                             {1, 1}, {1, 2}, {1, 3}, {1, 4}, {2, 1}, {2, 2}, {3, 1}, {4, 1}});
}

// Each fault is named with its field and what would be right.
void check_faults(const std::vector<Fault>& faults)
{
    for (const Fault& fault : faults) {
        CAPTURE(fault.pointer, fault.value.dump());
        const std::string error = error_of(
            [&] { read_edited([&](json& config) { set_or_remove(config, fault.pointer, fault.value); }); });
        CHECK_THAT(error, ContainsSubstring("config.json: "));
        for (const std::string& part : fault.message)
            CHECK_THAT(error, ContainsSubstring(part));
    }
}

TEST_CASE("config: every fault of the text model's sizes is named")
{
    const std::string text = "/text_config/";
    check_faults({
        {"/text_config", gone, {"text_config is missing", "wanted an object"}},
        {"/text_config", 5, {"text_config is 5", "wanted an object"}},
        {"/vision_config", json::array(), {"vision_config is []", "wanted an object"}},
        {"/model_type", "llama", {"model_type is \"llama\"", "wanted \"mllama\""}},
        {"/quantization_config", json::object(), {"quantization_config", "F32, BF16 or F16"}},
        {"/image_token_index", 28, {"image_token_index is 28", "0 to 27"}},
        {"/image_token_index", gone, {"image_token_index is missing", "at most 27"}},
        {text + "vocab_size", gone, {"text_config.vocab_size is missing", "whole number from 1 to 16777216"}},
        {text + "vocab_size", 0, {"text_config.vocab_size is 0"}},
        {text + "hidden_size", "16", {"text_config.hidden_size is \"16\"", "whole number"}},
        {text + "hidden_size", 16.0, {"text_config.hidden_size is 16.0"}},
        {text + "hidden_size", true, {"text_config.hidden_size is true"}},
        {text + "hidden_size", -16, {"text_config.hidden_size is -16"}},
        {text + "hidden_size", std::uint64_t{1} << 63, {"text_config.hidden_size is 9223372036854775808"}},
        {text + "hidden_size", (1 << 24) + 4, {"text_config.hidden_size is 16777220"}},
        {text + "hidden_size", 18, {"text_config.hidden_size is 18", "multiple of num_attention_heads (4)"}},
        {text + "hidden_size", 12, {"text_config.hidden_size is 12", "even number of channels"}},
        {text + "num_hidden_layers", 1025, {"num_hidden_layers is 1025", "1 to 1024"}},
        {text + "num_hidden_layers", 1, {"cross_attention_layers", "layer numbers from 0 to 0"}},
        {text + "num_attention_heads", 0, {"text_config.num_attention_heads is 0"}},
        {text + "num_key_value_heads",
         3,
         {"num_attention_heads is 4", "multiple of num_key_value_heads (3)"}},
        {text + "num_key_value_heads", gone, {"text_config.num_key_value_heads is missing"}},
        {text + "intermediate_size", json::object(), {"text_config.intermediate_size is an object"}},
        {text + "head_dim", 8, {"text_config.head_dim is 8", "wanted 4"}},
        {text + "hidden_act", "gelu", {"text_config.hidden_act is \"gelu\"", "wanted \"silu\""}},
        {text + "tie_word_embeddings", true, {"text_config.tie_word_embeddings is true", "wanted false"}},
    });
}

TEST_CASE("config: every fault of the text model's layers, positions and ids is named")
{
    const std::string text = "/text_config/", rope = "/text_config/rope_scaling/";
    check_faults({
        {text + "rms_norm_eps", 0, {"text_config.rms_norm_eps is 0"}},
        {text + "rms_norm_eps", "small", {"text_config.rms_norm_eps is \"small\"", "a number"}},
        {text + "rope_theta", -1.0, {"text_config.rope_theta is -1.0"}},
        {text + "max_position_embeddings", 0, {"text_config.max_position_embeddings is 0"}},
        {text + "cross_attention_layers", gone, {"text_config.cross_attention_layers is missing"}},
        {text + "cross_attention_layers",
         1,
         {"text_config.cross_attention_layers is 1", "layer numbers from 0 to 2"}},
        {text + "cross_attention_layers", {3}, {"text_config.cross_attention_layers is [3]"}},
        {text + "cross_attention_layers", {-1}, {"text_config.cross_attention_layers is [-1]"}},
        {text + "cross_attention_layers",
         {1, 1},
         {"text_config.cross_attention_layers is [1, 1]", "none twice"}},
        {text + "cross_attention_layers",
         {2, 1},
         {"text_config.cross_attention_layers is [2, 1]", "ascending"}},
        {text + "cross_attention_layers", {"1"}, {"text_config.cross_attention_layers is [\"1\"]"}},
        {rope + "rope_type",
         "yarn",
         {"text_config.rope_scaling.rope_type is \"yarn\"", "\"llama3\" or \"default\""}},
        {rope + "factor", gone, {"text_config.rope_scaling.factor is missing"}},
        {rope + "factor", 0.5, {"text_config.rope_scaling.factor is 0.5"}},
        {rope + "high_freq_factor", 1.0, {"high_freq_factor is 1", "more than low_freq_factor (1"}},
        {rope + "original_max_position_embeddings", 0, {"original_max_position_embeddings is 0"}},
        {text + "rope_parameters", 3, {"text_config.rope_parameters is 3"}},
        {text + "bos_token_id", 20, {"text_config.bos_token_id is 20", "0 to 19"}},
        {text + "eos_token_id", gone, {"text_config.eos_token_id is missing"}},
        {text + "eos_token_id", 20, {"text_config.eos_token_id is 20"}},
        {text + "eos_token_id", {2, "3"}, {"text_config.eos_token_id is [2, \"3\"]"}},
        {text + "eos_token_id", json::array(), {"text_config.eos_token_id is []"}},
    });
}

TEST_CASE("config: every fault of the vision encoder is named")
{
    const std::string vision = "/vision_config/";
    check_faults({
        {vision + "hidden_size", 13, {"vision_config.hidden_size is 13", "multiple of attention_heads (3)"}},
        {vision + "hidden_size",
         15,
         {"vision_config.vision_output_dim is 24", "30: hidden_size 15 x (1 final + 1 kept"}},
        {vision + "attention_heads", gone, {"vision_config.attention_heads is missing"}},
        {vision + "num_global_layers", -1, {"vision_config.num_global_layers is -1"}},
        {vision + "image_size", 10, {"vision_config.image_size is 10", "multiple of patch_size (4)"}},
        {vision + "image_size", {8, 16}, {"vision_config.image_size is [8, 16]", "square"}},
        {vision + "image_size", 8196, {"vision_config.image_size is 8196", "1 to 8192"}},
        {vision + "patch_size", 0, {"vision_config.patch_size is 0"}},
        {vision + "max_num_tiles",
         3,
         {"supported_aspect_ratios", "at most 3 tiles", "[1, 3], [2, 1], [3, 1]"}},
        {vision + "max_num_tiles", 65, {"vision_config.max_num_tiles is 65"}},
        {vision + "supported_aspect_ratios",
         {{1, 1}, {2, 1}, {1, 2}},
         {"vision_config.supported_aspect_ratios"}},
        {vision + "supported_aspect_ratios", 4, {"vision_config.supported_aspect_ratios is 4"}},
        {vision + "intermediate_layers_indices", {2}, {"intermediate_layers_indices is [2]", "0 to 1"}},
        {vision + "intermediate_layers_indices",
         {1, 0},
         {"intermediate_layers_indices is [1, 0]", "ascending"}},
        {vision + "intermediate_layers_indices",
         json::array(),
         {"intermediate_layers_indices is []", "at least one"}},
        {vision + "vision_output_dim", 36, {"vision_config.vision_output_dim is 36", "24: hidden_size 12"}},
        {vision + "vision_output_dim", gone, {"vision_config.vision_output_dim is missing"}},
        {vision + "num_channels", 4, {"vision_config.num_channels is 4", "wanted 3"}},
        {vision + "hidden_act",
         "quick_gelu",
         {"vision_config.hidden_act is \"quick_gelu\"", "wanted \"gelu\""}},
        {vision + "norm_eps", -1, {"vision_config.norm_eps is -1"}},
    });
}

TEST_CASE("config: files that are no config at all")
{
    const std::string deep = std::string(100000, '[') + std::string(100000, ']');
    const std::vector<std::pair<std::string, std::string>> files{
        {"", "is not JSON"},
        {"{\"model_type\": ", "is not JSON"},
        {"{\"model_type\": 1e999}", "is not JSON"},
        {"{\"model_type\": \"\xff\"}", "is not JSON"},
        {"[1, 2]", "wanted an object"},
        {"{\"text_config\": " + deep + "}", "deeper than 64 levels"},
        {R"({"text_config": {"hidden_size": 8, "hidden_size": 16}})", "\"hidden_size\" appears twice"},
    };
    const TempFolder folder;
    for (const auto& [bytes, message] : files) {
        write_file(folder.path / "config.json", bytes);
        const std::string error = error_of([&] { read_config(folder.path); });
        CHECK_THAT(error, ContainsSubstring("config.json: "));
        CHECK_THAT(error, ContainsSubstring(message));
    }
    std::filesystem::remove(folder.path / "config.json");
    CHECK_THAT(error_of([&] { read_config(folder.path); }), ContainsSubstring("config.json: no such file"));
    std::filesystem::create_directory(folder.path / "config.json");
    CHECK_THAT(error_of([&] { read_config(folder.path); }),
               ContainsSubstring("config.json: a folder; wanted"));
    CHECK_THAT(error_of([&] { read_config(folder.path / "nowhere"); }),
               ContainsSubstring("wanted a JSON file"));
}

TEST_CASE("config: generation_config.json decides where answers end")
{
    const TempFolder folder;
    write_file(folder.path / "config.json", tiny_config().dump());
    write_file(folder.path / "generation_config.json", R"({"eos_token_id": [3, 4, 5]})");
    CHECK(read_config(folder.path).end_tokens == std::vector<std::int64_t>{3, 4, 5});
    write_file(folder.path / "generation_config.json", "{}");
    CHECK(read_config(folder.path).end_tokens == std::vector<std::int64_t>{2});
    write_file(folder.path / "generation_config.json", R"({"eos_token_id": "end"})");
    CHECK_THAT(error_of([&] { read_config(folder.path); }),
               ContainsSubstring("generation_config.json: eos_token_id is \"end\""));
}

TEST_CASE("config: how pictures are prepared, and every fault there")
{
    const json right =
        json::parse(R"({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "max_image_tiles": 2,
        "size": {"height": 8, "width": 8}, "rescale_factor": 0.5, "resample": 2, "do_resize": true})");
    const TempFolder folder;
    write_file(folder.path / "config.json", tiny_config().dump());
    write_file(folder.path / "preprocessor_config.json", right.dump());
    const ModelConfig config = read_config(folder.path);
    CHECK(config.image.mean == std::array<double, 3>{0.1, 0.2, 0.3});
    CHECK(config.image.std == std::array<double, 3>{0.5, 0.6, 0.7});
    CHECK(config.image.rescale_factor == 0.5);
    CHECK(config.image.max_tiles == 2);

    const std::vector<Fault> faults{
        {"/image_mean", gone, {"image_mean is missing", "three numbers"}},
        {"/image_mean", {0.5, 0.5}, {"image_mean is [0.5, 0.5]", "three numbers"}},
        {"/image_std", {0.5, 0.0, 0.5}, {"image_std is [0.5, 0.0, 0.5]"}},
        {"/image_std", {0.5, "a", 0.5}, {"image_std is [0.5, \"a\", 0.5]"}},
        {"/size", gone, {"size is missing"}},
        {"/size/height", 16, {"size.height is 16", "8, the image_size of config.json"}},
        {"/size/width", -8, {"size.width is -8"}},
        {"/max_image_tiles", 4, {"max_image_tiles is 4", "2, the max_num_tiles"}},
        {"/rescale_factor", 0, {"rescale_factor is 0"}},
        {"/resample", 3, {"resample is 3", "wanted 2"}},
        {"/do_normalize", false, {"do_normalize is false", "wanted true"}},
    };
    for (const Fault& fault : faults) {
        CAPTURE(fault.pointer, fault.value.dump());
        json file = right;
        set_or_remove(file, fault.pointer, fault.value);
        write_file(folder.path / "preprocessor_config.json", file.dump());
        const std::string error = error_of([&] { read_config(folder.path); });
        CHECK_THAT(error, ContainsSubstring("preprocessor_config.json: "));
        for (const std::string& part : fault.message)
            CHECK_THAT(error, ContainsSubstring(part));
    }

    // Newer releases of transformers write the same fields inside processor_config.json.
    std::filesystem::remove(folder.path / "preprocessor_config.json");
    write_file(folder.path / "processor_config.json", json{{"image_processor", right}}.dump());
    CHECK(read_config(folder.path).image.mean[2] == 0.3);
}
