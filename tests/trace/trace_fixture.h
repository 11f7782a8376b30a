// What the tests of trace/ share: a folder of their own, and small traces in it.
#pragma once

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "trace/recording/recorder.h"

namespace pictor_test {

struct TemporaryFolder {
    std::filesystem::path path;
    TemporaryFolder()
    {
        static std::atomic<int> count{0};
        path = std::filesystem::temp_directory_path() / fmt::format("pictor-test-{}-{}", getpid(), count++);
        std::filesystem::create_directories(path);
    }
    ~TemporaryFolder()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path operator/(const std::string& name) const { return path / name; }
};

inline std::string read_text(const std::filesystem::path& path)
{
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text)
{
    std::ofstream(path, std::ios::binary) << text;
}

inline void replace_text(const std::filesystem::path& path, const std::string& from, const std::string& to)
{
    std::string text = read_text(path);
    const std::size_t at = text.find(from);
    if (at == std::string::npos)
        throw std::runtime_error(path.string() + " does not contain " + from);
    write_text(path, text.replace(at, from.size(), to));
}

inline std::vector<std::string> names_in(const std::filesystem::path& folder)
{
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder))
        names.push_back(file.path().filename().string());
    return names;
}

// A trace of two steps: ids, a hidden state [3, 4] and probabilities [2, 3, 5] in step 0, a hidden state in
// step 1.
struct SmallTrace {
    std::vector<float> hidden{0.1f, -2.5f, 3, 4, 5, 6.25f, 7, 8, 9, 10, 11, -12};
    std::vector<float> probs = std::vector<float>(30, 0.2f);
    std::vector<std::int64_t> ids{5, 90, 128256};

    void write(const std::filesystem::path& folder, pictor::TraceOptions options = {}) const
    {
        options.folder = folder;
        if (options.values == pictor::TraceValues::sample && options.sample_above == 262144)
            options.values = pictor::TraceValues::all;
        pictor::TraceWriter writer(options);
        writer.describe("reference", "meta");
        writer.describe("model", {{"vision", {{"max_tiles", 4}, {"tile_size", 28}, {"patch_size", 14}}}});
        writer.describe("prompt",
                        {{"text", "a cat"}, {"token_ids", ids}, {"token_texts", {"a", " cat", "<|image|>"}}});
        writer.begin_step("prefill", 0, 3);
        const pictor::Recorder record = writer.recorder();
        record.integers("input_ids", "token", ids, {3});
        record.scope("language_model")("embed_tokens", "token channel", {hidden.data(), {3, 4}});
        record.scope("language_model")
            .scope("layers", 3)
            .scope("cross_attn")("probs", "head token key", {probs.data(), {2, 3, 5}});
        writer.begin_step("decode", 3, 1);
        record.scope("language_model")("embed_tokens", "token channel", {hidden.data(), {1, 4}});
        writer.finish();
    }
};

}  // namespace pictor_test
