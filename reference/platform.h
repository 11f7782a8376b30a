// What belongs to one operating system: where the program is, how its threads wait, whether somebody watches.
#pragma once

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace pictor {

// The folder of the running program; empty when the system does not say.
std::filesystem::path program_folder();

// A file that grows past the limit of the shell ends a program by a signal, its half-written files still
// there. After this the write fails like one on a full disk, and the program says so and cleans up.
void refuse_too_large_files_with_an_error();

// Lets a thread that waits for others sleep. GNU's OpenMP lets it spin: beside other busy programs a run then
// takes thirty times as long. It reads the setting before main() begins, so the program starts itself once
// more with OMP_WAIT_POLICY=passive. Does nothing when the environment says how to wait.
void let_waiting_threads_sleep(char** argv);

// Runs another of this project's programs, which stands beside this one or in the folder above (build/step/),
// with this one's terminal. Returns its exit code. Throws std::runtime_error when it is not there.
int run_beside(const std::string& program, const std::vector<std::string>& arguments);

// A name for a folder that no other run uses, where the system keeps what is soon thrown away.
std::filesystem::path scratch_folder();

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
