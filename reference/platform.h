// What belongs to one operating system: where the program is, how its threads wait, whether somebody watches.
#pragma once

#include <filesystem>
#include <memory>
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

// While it lives, stderr shows how far something is, from the second second on: on a terminal a line with a
// bar that is rewritten every second; elsewhere a line every ten seconds. What it costs is a thread that
// sleeps, and a lock for each step that is reported. `quiet`, PICTOR_QUIET in the environment, or a debugger:
// nothing at all.
class Progress {
public:
    explicit Progress(std::string what, bool quiet = false);
    ~Progress();
    Progress(const Progress&) = delete;

    // What is being done now, and the share of the whole that is done: 0 to 1; below 0 when it is not known.
    void at(std::string what, double share);

private:
    struct State;
    std::shared_ptr<State> state_;
    std::jthread thread_;
};

// "vision layer 12 of 40  [######              ] 31 %, 12 s, 27 s left"; without `bar` the bar is left out.
std::string progress_text(const std::string& what, double share, double seconds, bool bar);

}  // namespace pictor
