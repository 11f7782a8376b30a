// Runs of the program `reference` that several test files ask for.
#pragma once

#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/reference/checkpoint_files.h"
#include "tests/run_command.h"

namespace pictor_test {

inline const std::string images = "models/pictor/pictures/";
inline const std::string base = "golden/checkpoints/base";

// A model of a few thousand random numbers that reads and writes the shipped model's tokens: quick where any
// answer will do.
class TalkingModel {
public:
    TalkingModel()
    {
        nlohmann::json config = tiny_config();
        config["image_token_index"] = 512;
        config["text_config"]["vocab_size"] = 512;
        config["text_config"]["bos_token_id"] = 480;
        config["text_config"]["eos_token_id"] = {481, 488, 489};
        config["text_config"]["max_position_embeddings"] = 256;
        RawTensors tensors = tiny_tensors();
        tensors["language_model.model.embed_tokens.weight"].shape = {520, 16};
        tensors["language_model.lm_head.weight"].shape = {512, 16};
        std::mt19937 random(5);
        for (auto& [name, tensor] : tensors) {
            std::int64_t count = 1;
            for (const std::int64_t extent : tensor.shape)
                count *= extent;
            std::vector<float> values;
            for (std::int64_t i = 0; i < count; ++i)
                values.push_back(static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f);
            tensor = f32(tensor.shape, values);
        }
        write_file(folder.path / "config.json", config.dump());
        write_file(folder.path / "model.safetensors", safetensors_bytes(tensors));
        std::filesystem::copy_file("models/pictor/tokenizer.json", folder.path / "tokenizer.json");
    }
    std::string path() const { return folder.path.string(); }

private:
    TempFolder folder;
};

// `run` with that model and more.
inline Arguments talk(const TalkingModel& model, const Arguments& more)
{
    Arguments arguments{"run",           "--model",          model.path(), "--prompt",
                        "What is this?", "--max-new-tokens", "12"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

inline Arguments forward(const std::filesystem::path& inputs, const Arguments& more,
                         const std::string& model = base)
{
    Arguments arguments{"forward", "--model", model, "--inputs", inputs.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

inline std::filesystem::path case_inputs(const std::string& name)
{
    return std::filesystem::path("golden/cases") / name / "inputs.safetensors";
}

// Every file of a folder with its bytes, by its path inside.
inline std::map<std::string, std::string> files_of(const std::filesystem::path& folder)
{
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
        if (entry.is_regular_file())
            files[std::filesystem::relative(entry.path(), folder).string()] = read_file(entry.path());
    return files;
}

}  // namespace pictor_test
