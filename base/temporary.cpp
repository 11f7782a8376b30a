#include "base/temporary.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace pictor {
namespace {

// Every temporary file and folder. A signal's handler reads it, so it is only changed under a lock that the
// handler can wait for: whoever holds it has these signals blocked, and so is never the handler's own thread.
std::set<std::string> temporaries;
std::atomic_flag busy = ATOMIC_FLAG_INIT;

sigset_t stopping_signals()
{
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
        sigaddset(&set, signal);
    return set;
}

class Lock {
public:
    Lock()
    {
        const sigset_t set = stopping_signals();
        pthread_sigmask(SIG_BLOCK, &set, &before_);
        while (busy.test_and_set(std::memory_order_acquire))
            usleep(100);
    }
    ~Lock()
    {
        const int error = errno;
        busy.clear(std::memory_order_release);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
        errno = error;
    }
    Lock(const Lock&) = delete;

private:
    sigset_t before_{};
};

// Calls only what a handler may call. The lock is never given back: nothing may be made any more.
void remove_and_stop(int signal)
{
    while (busy.test_and_set(std::memory_order_acquire)) {}
    for (auto path = temporaries.rbegin(); path != temporaries.rend();
         ++path)  // what a folder holds before it
        if (unlink(path->c_str()) != 0)
            rmdir(path->c_str());
    std::signal(signal, SIG_DFL);
    raise(signal);  // takes effect when the handler returns
}

void forget(const fs::path& temporary)
{
    const std::string name = temporary.string();
    auto path = temporaries.lower_bound(name);
    while (path != temporaries.end() && path->starts_with(name) &&
           (path->size() == name.size() || (*path)[name.size()] == '/'))
        path = temporaries.erase(path);
}

bool exchange_names(const fs::path& a, const fs::path& b)
{
#ifdef __APPLE__
    return renamex_np(a.c_str(), b.c_str(), RENAME_SWAP) == 0;
#else
    return renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
#endif
}

}  // namespace

fs::path temporary_name(const fs::path& target)
{
    static std::atomic<int> count = 0;
    const int now = count++;
    return target.parent_path() / fmt::format(".{}.partial-{}{}", target.filename().string().substr(0, 200),
                                              getpid(), now == 0 ? "" : fmt::format("-{}", now));
}

int create_temporary_file(const fs::path& file)
{
    const Lock lock;
    const int opened = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (opened >= 0)
        temporaries.insert(file.string());
    return opened;
}

bool create_temporary_folder(const fs::path& folder)
{
    const Lock lock;
    if (::mkdir(folder.c_str(), 0777) != 0)
        return false;
    temporaries.insert(folder.string());
    return true;
}

bool put_in_place(const fs::path& temporary, const fs::path& target, bool exchange)
{
    const Lock lock;
    if (exchange && exchange_names(temporary, target)) {
        forget(temporary);
        return true;
    }
    const fs::path old = exchange ? temporary.string() + ".old" : "";
    if (exchange && ::rename(target.c_str(), old.c_str()) != 0)
        return false;
    if (::rename(temporary.c_str(), target.c_str()) != 0) {
        const int error = errno;
        if (exchange)
            std::rename(old.c_str(), target.c_str());
        errno = error;
        return false;
    }
    forget(temporary);
    return !exchange || ::rename(old.c_str(), temporary.c_str()) == 0;
}

void remove_temporary(const fs::path& temporary) noexcept
{
    const Lock lock;
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    forget(temporary);
}

void remove_temporaries_when_stopped()
{
    struct sigaction action {};
    action.sa_handler = remove_and_stop;
    action.sa_mask = stopping_signals();
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
        struct sigaction before {};
        if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_DFL)  // nohup stays nohup
            sigaction(signal, &action, nullptr);
    }
}

}  // namespace pictor
