// A golden trace, and copies of it that a test may damage.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>

#include "tests/run_command.h"

namespace pictor_test {

inline const std::string golden = "golden/cases/1x1/meta";

// A copy of a golden trace, to be changed.
struct TraceCopy {
    TempFolder folder;
    std::filesystem::path path = folder.path / "trace";

    TraceCopy() { std::filesystem::copy(golden, path, std::filesystem::copy_options::recursive); }
    std::string text() const { return path.string(); }
    std::filesystem::path index_file() const { return path / "trace.json"; }
    std::filesystem::path tensor_file(const std::string& name) const
    {
        return path / "tensors" / ("000-" + name + ".json");
    }

    // Another number in the place of the first one.
    void set_first_value(const std::string& name, const std::string& number) const
    {
        std::string bytes = read_file(tensor_file(name));
        const std::size_t begin = bytes.find("[\n") + 2;
        bytes.replace(begin, bytes.find(',', begin) - begin, number);
        write_file(tensor_file(name), bytes);
    }
    template <typename Change> void change_index(Change change) const
    {
        nlohmann::json index = read_json(index_file());
        change(index);
        write_file(index_file(), index.dump());
    }
    void forget(const std::string& name) const
    {
        change_index([&](nlohmann::json& index) {
            nlohmann::json& tensors = index.at("tensors");
            tensors.erase(std::find_if(tensors.begin(), tensors.end(), [&](const nlohmann::json& entry) {
                return entry.at("name") == name;
            }));
        });
    }
};

}  // namespace pictor_test
