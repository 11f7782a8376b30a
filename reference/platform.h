// What belongs to one operating system: where the program stands, whether somebody watches.
#pragma once

#include <filesystem>
#include <string>
#include <thread>

namespace pictor {

// The folder of the running program; empty when the system does not say.
std::filesystem::path program_folder();

bool stdin_is_terminal();
bool stderr_is_terminal();

// While it lives: "\r<what>, 3 s" on stderr, from the second second on and only on a terminal.
class Progress {
public:
    explicit Progress(std::string what);
    ~Progress();
    Progress(const Progress&) = delete;

private:
    std::jthread thread_;
};

}  // namespace pictor
