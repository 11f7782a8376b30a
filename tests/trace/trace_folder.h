// A small made-up trace for the tests of what reads traces.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "trace/recording/recorder.h"

namespace pictor::testing {

// A folder of its own under the system's temporary folder, removed at the end.
struct TemporaryFolder {
    std::filesystem::path path;

    explicit TemporaryFolder(const std::string& name)
    {
        static int count = 0;
        path = std::filesystem::temp_directory_path() /
               ("pictor-" + name + "-" + std::to_string(getpid()) + "-" + std::to_string(count++));
        std::filesystem::remove_all(path);
        std::filesystem::create_directories(path);
    }
    ~TemporaryFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
};

// What a made-up run looked at: probability of a key for a head and a position of the sequence. Rows are
// normalised.
using Attention = std::function<double(std::int64_t head, std::int64_t position, std::int64_t key)>;

struct MadeUpRun {
    std::vector<std::string> prompt{"<|begin_of_text|>", "<|image|>", "What", "?", "<|eot_id|>"};
    std::vector<std::string> answer{"I", " see", " a", " st", "ar", "."};
    std::int64_t tile_rows = 1, tile_columns = 2, max_tiles = 4, tile_size = 28, patch_size = 7;
    std::vector<std::int64_t> size{40, 70}, resized{28, 49};  // [h, w]
    std::int64_t n_heads = 2, blind_rows = 1, layer = 3;
    std::string image_file = "picture.png";
    Attention attention = [](auto, auto, auto) { return 1.0; };

    std::int64_t patches_per_tile() const { return (tile_size / patch_size) * (tile_size / patch_size) + 1; }
    std::int64_t n_keys() const { return max_tiles * patches_per_tile(); }
};

inline void write_made_up_run(const MadeUpRun& run, const std::filesystem::path& folder)
{
    const auto section = [](const std::vector<std::string>& texts) {
        nlohmann::json ids = nlohmann::json::array();
        std::string text;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            ids.push_back(i);
            text += texts[i];
        }
        return nlohmann::json{{"text", text}, {"token_ids", ids}, {"token_texts", texts}};
    };
    TraceOptions options;
    options.folder = folder;
    options.values = TraceValues::all;
    TraceWriter writer(options);
    writer.describe("reference", "meta");
    writer.describe("model", nlohmann::json::object());
    writer.describe("prompt", section(run.prompt));
    writer.describe("generated", section(run.answer));
    writer.describe("images", {{{"file", run.image_file},
                                {"size", run.size},
                                {"resized", run.resized},
                                {"tiles", {run.tile_rows, run.tile_columns}},
                                {"tile_size", run.tile_size},
                                {"patch_size", run.patch_size},
                                {"aspect_ratio_id", 2}}});
    const auto n_prompt = static_cast<std::int64_t>(run.prompt.size());
    for (std::int64_t step = 0; step < static_cast<std::int64_t>(run.answer.size()); ++step) {
        const std::int64_t first = step == 0 ? 0 : n_prompt + step - 1, count = step == 0 ? n_prompt : 1;
        writer.begin_step(step == 0 ? "prefill" : "decode", first, count);
        std::vector<std::int64_t> mask;
        std::vector<float> probs;
        for (std::int64_t row = first; row < first + count; ++row)
            for (std::int64_t tile = 0; tile < run.max_tiles; ++tile)
                mask.push_back(row >= run.blind_rows && tile < run.tile_rows * run.tile_columns);
        for (std::int64_t head = 0; head < run.n_heads; ++head)
            for (std::int64_t row = first; row < first + count; ++row) {
                double sum = 0;
                for (std::int64_t key = 0; key < run.n_keys(); ++key)
                    sum += run.attention(head, row, key);
                for (std::int64_t key = 0; key < run.n_keys(); ++key)
                    probs.push_back(static_cast<float>(run.attention(head, row, key) / sum));
            }
        const Recorder record = writer.recorder();
        record.integers("cross_attention_mask", "token image tile", mask, {count, 1, run.max_tiles});
        record("language_model.layers." + std::to_string(run.layer) + ".cross_attn.probs", "head token key",
               {probs.data(), {run.n_heads, count, run.n_keys()}});
    }
    writer.finish();
}

}  // namespace pictor::testing
