#include "reference/platform.h"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

extern char** environ;

namespace pictor {

std::filesystem::path program_folder()
{
    std::error_code error;
#ifdef __APPLE__
    char name[4096];
    std::uint32_t size = sizeof name;
    if (_NSGetExecutablePath(name, &size) != 0)
        return {};
    return std::filesystem::canonical(name, error).parent_path();
#else
    return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
#endif
}

void let_waiting_threads_sleep([[maybe_unused]] char** argv)
{
#if defined(__linux__) && defined(_OPENMP) && defined(NDEBUG)
    for (const char* name : {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
        if (std::getenv(name) != nullptr)
            return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv);  // returns only when it fails; then the threads spin
#endif
}

int run_beside(const std::string& program, const std::vector<std::string>& arguments)
{
    std::filesystem::path file = program_folder() / program;
    if (!std::filesystem::exists(file))
        file = program_folder().parent_path() / program;
    if (!std::filesystem::exists(file))
        throw std::runtime_error(fmt::format("{}: is not built; `make` builds it beside this program",
                                             (program_folder() / program).string()));
    const std::string path = file.string();
    std::vector<char*> words{const_cast<char*>(path.c_str())};
    for (const std::string& argument : arguments)
        words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    std::fflush(stdout);
    pid_t child = 0;
    if (const int failure = posix_spawn(&child, path.c_str(), nullptr, nullptr, words.data(), environ);
        failure != 0)
        throw std::runtime_error(fmt::format("{}: {}", path, std::strerror(failure)));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

std::filesystem::path scratch_folder()
{
    return std::filesystem::temp_directory_path() / fmt::format("pictor-{}", getpid());
}

bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

void refuse_too_large_files_with_an_error() { std::signal(SIGXFSZ, SIG_IGN); }

Progress::Progress(std::string what)
{
    if (!stderr_is_terminal())
        return;
    thread_ = std::jthread([what = std::move(what)](std::stop_token stop) {
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock(mutex);
        int seconds = 0;
        while (!wake.wait_for(lock, stop, std::chrono::seconds(1), [&] { return stop.stop_requested(); }))
            if (++seconds >= 2)
                fmt::print(stderr, "\r{}, {} s", what, seconds);
        if (seconds >= 2)
            fmt::print(stderr, "\r{:{}}\r", "", what.size() + 12);
    });
}

Progress::~Progress() = default;  // asks the thread to stop and waits for it

}  // namespace pictor
