// The golden cases: tiny random checkpoints, exact inputs, and what both oracles made of them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "reference/checkpoint/load_tensors.h"
#include "reference/generate.h"
#include "tests/reference/checkpoint_files.h"

namespace pictor_test {

struct GoldenCase {
    std::string name;
    std::filesystem::path folder;
    nlohmann::json description;  // case.json

    std::filesystem::path checkpoint() const
    {
        return "golden" / std::filesystem::path(description.at("checkpoint").get<std::string>());
    }
    std::vector<std::int64_t> generated(const std::string& rule) const
    {
        return description.at("expected").at(rule).at("generated");
    }
};

inline std::vector<GoldenCase> golden_cases()
{
    std::vector<GoldenCase> cases;
    for (const auto& entry : std::filesystem::directory_iterator("golden/cases"))
        if (entry.is_directory())
            cases.push_back(
                {entry.path().filename().string(), entry.path(), read_json(entry.path() / "case.json")});
    std::sort(cases.begin(), cases.end(),
              [](const GoldenCase& a, const GoldenCase& b) { return a.name < b.name; });
    return cases;
}

inline GoldenCase golden_case(const std::string& name)
{
    const std::filesystem::path folder = std::filesystem::path("golden/cases") / name;
    return {name, folder, read_json(folder / "case.json")};
}

inline pictor::GenerateInputs golden_inputs(const GoldenCase& golden, const pictor::ModelConfig& config)
{
    const pictor::SafetensorsFile file(golden.folder / "inputs.safetensors");
    pictor::GenerateInputs inputs;
    inputs.token_ids = load_integers(file, "input_ids", {-1});
    if (file.find("pixel_values") == nullptr)
        return inputs;
    const std::int64_t n_tiles = config.vision.max_tiles,
                       n_tokens = static_cast<std::int64_t>(inputs.token_ids.size());
    inputs.images.pixel_values =
        load_floats(file, "pixel_values", {-1, n_tiles, 3, config.vision.tile_size, config.vision.tile_size});
    const std::int64_t n_images = inputs.images.pixel_values.extent(0);
    inputs.images.aspect_ratio_ids = load_integers(file, "aspect_ratio_ids", {n_images});
    inputs.images.aspect_ratio_mask = load_integers(file, "aspect_ratio_mask", {n_images, n_tiles});
    inputs.mask = {n_tokens, n_images, n_tiles,
                   load_integers(file, "cross_attention_mask", {n_tokens, n_images, n_tiles})};
    return inputs;
}

// What `reference forward --greedy N` does: end tokens do not stop it.
inline pictor::GenerateOptions greedy(std::int64_t n_tokens)
{
    pictor::GenerateOptions options;
    options.max_new_tokens = n_tokens;
    options.stop_at_end_token = false;
    return options;
}

}  // namespace pictor_test
