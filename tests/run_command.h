// Starts one of the programs as a shell would, and collects what it says.
#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/catch.h"
#include "tests/reference/checkpoint_files.h"

extern char** environ;

namespace pictor_test {

using Arguments = std::vector<std::string>;

// What a command may be given beside its arguments.
struct Surroundings {
    std::string input{};                               // standard input
    std::map<std::string, std::string> environment{};  // beside what the tests themselves have
    std::filesystem::path folder = ".";                // working directory
    std::filesystem::path output{};  // where standard output goes; empty: into CommandResult::out
    std::uint64_t largest_file = 0;  // bytes, as `ulimit -f` says it; 0: no limit
    int seconds = 120;               // then it is ended, and the result says so
};

struct CommandResult {
    int exit_code = -1;  // -1 when a signal ended it
    int signal = 0;
    bool timed_out = false;
    std::string out, err;
};

inline std::filesystem::path program(const std::string& name)
{
    const char* const folder = std::getenv("PICTOR_BUILD");
    return std::filesystem::absolute(
        std::filesystem::path(folder != nullptr && *folder != '\0' ? folder : "build") / name);
}

inline std::string read_file(const std::filesystem::path& path)
{
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

// Everything in a folder by its name, hidden files too: what a failed command left behind.
inline std::set<std::string> entries_of(const std::filesystem::path& folder)
{
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.insert(entry.path().filename().string());
    return names;
}

// The part between fork and exec may only call what is safe after a fork, so everything is prepared before.
struct PreparedCommand {
    std::vector<char*> arguments, environment;
    std::string folder, input, output, errors;
    std::uint64_t largest_file = 0;
};

[[noreturn]] inline void become(const PreparedCommand& command)
{
    const int input = open(command.input.c_str(), O_RDONLY);
    const int output = open(command.output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int errors = open(command.errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const bool ready = dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(errors, 2) == 2 &&
                       chdir(command.folder.c_str()) == 0;
    if (ready && command.largest_file > 0) {
        const rlimit limit{static_cast<rlim_t>(command.largest_file),
                           static_cast<rlim_t>(command.largest_file)};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (ready)
        execve(command.arguments.front(), command.arguments.data(), command.environment.data());
    _exit(127);
}

// Waits for a child, and ends it when its time is over.
inline void wait_for(pid_t child, int seconds, CommandResult& result)
{
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (!result.timed_out && std::chrono::steady_clock::now() > deadline) {
            result.timed_out = true;
            kill(child, SIGKILL);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    if (WIFEXITED(status))
        result.exit_code = WEXITSTATUS(status);
    else if (WIFSIGNALED(status))
        result.signal = WTERMSIG(status);
}

// "NAME=value" of each variable. A PICTOR_MODEL that whoever runs the tests has set is left out.
inline std::vector<std::string> child_environment(const Surroundings& surroundings)
{
    std::vector<std::string> variables;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string text = *variable;
        const std::string key = text.substr(0, text.find('='));
        if (key != "PICTOR_MODEL" && !surroundings.environment.count(key))
            variables.push_back(text);
    }
    for (const auto& [key, value] : surroundings.environment)
        variables.push_back(key + "=" + value);
    return variables;
}

inline CommandResult run_command(const std::string& name, const Arguments& arguments,
                                 const Surroundings& surroundings = {})
{
    const TempFolder streams;
    const std::string path = program(name).string();
    write_file(streams.path / "in", surroundings.input);
    PreparedCommand command;
    command.folder = surroundings.folder.string();
    command.input = (streams.path / "in").string();
    command.output =
        surroundings.output.empty() ? (streams.path / "out").string() : surroundings.output.string();
    command.errors = (streams.path / "err").string();
    command.largest_file = surroundings.largest_file;
    command.arguments.push_back(const_cast<char*>(path.c_str()));
    for (const std::string& argument : arguments)
        command.arguments.push_back(const_cast<char*>(argument.c_str()));
    command.arguments.push_back(nullptr);
    std::vector<std::string> variables = child_environment(surroundings);
    for (std::string& variable : variables)
        command.environment.push_back(variable.data());
    command.environment.push_back(nullptr);

    if (!std::filesystem::exists(path))
        throw std::runtime_error(path +
                                 ": is not built; `make test` builds it, and PICTOR_BUILD names the folder");
    const pid_t child = fork();
    if (child < 0)
        throw std::runtime_error("fork: no more processes");
    if (child == 0)
        become(command);
    CommandResult result;
    wait_for(child, surroundings.seconds, result);
    result.out = read_file(streams.path / "out");
    result.err = read_file(streams.path / "err");
    return result;
}

inline CommandResult reference(const Arguments& arguments, const Surroundings& surroundings = {})
{
    return run_command("reference", arguments, surroundings);
}
inline CommandResult trace(const Arguments& arguments, const Surroundings& surroundings = {})
{
    return run_command("trace", arguments, surroundings);
}

// The command did what it was asked.
inline void check_fine(const CommandResult& result)
{
    INFO("stdout: " << result.out << "\nstderr: " << result.err << "\nsignal: " << result.signal
                    << " timed out: " << result.timed_out);
    CHECK(result.exit_code == 0);
}

// The command refused: exit 2, nothing on stdout, one message that begins with the program and says these
// words.
inline void check_refused(const CommandResult& result, const std::string& name,
                          const std::vector<std::string>& words)
{
    INFO("stdout: " << result.out << "\nstderr: " << result.err << "\nsignal: " << result.signal
                    << " timed out: " << result.timed_out);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK(result.err.starts_with(name + ": "));
    CHECK(result.err.size() < 4096);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    for (const std::string& word : words)
        CHECK_THAT(result.err, ContainsSubstring(word));
}

}  // namespace pictor_test
