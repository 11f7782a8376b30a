#include "bench/json_numbers.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <omp.h>

#include "base/output_file.h"
#include "trace/recording/number_text.h"

namespace pictor {
namespace {

double seconds()
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

nlohmann::json time_json_numbers(std::int64_t count, int repeat)
{
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values)
        value = normal(random);

    nlohmann::json result;
    const auto write_all = [&](const char* name) {
        OutputFile file(name, Overwrite::any_file);
        NumberWriter().write<float>({values.data(), count, 1, 0, 1024}, file);
        file.close();
    };
    const std::string text = "build/bench-numbers.json";
    write_all(text.c_str());
    const auto bytes = std::filesystem::file_size(text);
    std::filesystem::remove(text);
    for (const int threads : {1, 2}) {
        omp_set_num_threads(threads);
        double best = 1e9;
        for (int i = 0; i < repeat; ++i) {
            const double start = seconds();
            write_all("/dev/null");
            best = std::min(best, seconds() - start);
        }
        result["pictor, threads: " + std::to_string(threads)] = {
            {"mb_per_second", static_cast<double>(bytes) / best / 1e6}, {"seconds", best}};
    }
    const nlohmann::json array = values;
    double best = 1e9;
    std::size_t length = 0;
    for (int i = 0; i < repeat; ++i) {
        const double start = seconds();
        length = array.dump().size();
        best = std::min(best, seconds() - start);
    }
    result["nlohmann dump"] = {{"mb_per_second", static_cast<double>(length) / best / 1e6},
                               {"seconds", best}};
    return result;
}

}  // namespace pictor
