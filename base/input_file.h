// Reading a file that somebody else named, and that may be anything.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace pictor {

// The bytes of a file of at most `most_bytes`. Throws std::runtime_error naming the file, what was found and
// what is `wanted` ("a picture") for what is missing, a folder, too large or unreadable, and for pipes and
// devices, which may never end.
std::string read_whole_file(const std::filesystem::path& file, std::uint64_t most_bytes,
                            std::string_view wanted);

// Opens it to be read, under the same conditions, and says how large it is; the caller closes it.
int open_regular_file(const std::filesystem::path& file, std::string_view wanted, std::uint64_t& bytes);

}  // namespace pictor
