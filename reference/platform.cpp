#include "reference/platform.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
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

std::string progress_text(const std::string& what, double share, double seconds, bool bar)
{
    constexpr int width = 20;
    std::string text = what;
    if (share >= 0) {
        const int full = static_cast<int>(share * width);
        if (bar)
            text += fmt::format("  [{:#>{}}{:>{}}]", "", full, "", width - full);
        text += fmt::format("{} {:.0f} %", bar ? "" : ",", std::floor(share * 100));
    }
    text += fmt::format(", {:.0f} s", std::floor(seconds));
    if (share > 0.02)  // before that it would be a guess
        text += fmt::format(", {:.0f} s left", std::ceil(seconds * (1 - share) / share));
    return text;
}

struct Progress::State {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::string what;
    double share = -1;
};

namespace {

// Under a debugger the seconds are those of the person who steps, and a line would fall into its screen.
bool is_traced()
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("TracerPid:"))
            return line.find_first_of("123456789") != std::string::npos;
    return false;
}

}  // namespace

Progress::Progress(std::string what, bool quiet) : state_(std::make_shared<State>())
{
    state_->what = std::move(what);
    if (quiet || std::getenv("PICTOR_QUIET") != nullptr || is_traced())
        return;
    thread_ = std::jthread([state = state_, terminal = stderr_is_terminal()](std::stop_token stop) {
        const auto start = std::chrono::steady_clock::now();
        const int every = terminal ? 1 : 10;
        std::size_t longest = 0;
        std::unique_lock lock(state->mutex);
        for (int second = 1;; ++second) {
            if (state->wake.wait_until(lock, stop, start + std::chrono::seconds(second),
                                       [&] { return stop.stop_requested(); }))
                break;
            if (second < 2 || second % every != 0)
                continue;
            const std::string text = progress_text(state->what, state->share, second, terminal);
            longest = std::max(longest, text.size());
            if (terminal)
                fmt::print(stderr, "\r{:{}}", text, longest);
            else
                fmt::print(stderr, "{}\n", text);
        }
        if (longest > 0 && terminal)
            fmt::print(stderr, "\r{:{}}\r", "", longest);
    });
}

void Progress::at(std::string what, double share)
{
    const std::lock_guard lock(state_->mutex);
    state_->what = std::move(what);
    state_->share = share;
}

Progress::~Progress() = default;  // asks the thread to stop and waits for it

}  // namespace pictor
