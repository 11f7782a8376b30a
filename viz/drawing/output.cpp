#include "viz/drawing/output.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

extern char** environ;

namespace pictor {
namespace {

struct Pipe {
    int read_end = -1, write_end = -1;

    Pipe()
    {
        std::array<int, 2> ends{};
        if (pipe(ends.data()) != 0)
            throw std::runtime_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
        read_end = ends[0];
        write_end = ends[1];
        fcntl(read_end, F_SETFD, FD_CLOEXEC);
        fcntl(write_end, F_SETFD, FD_CLOEXEC);
    }
    ~Pipe()
    {
        close_end(read_end);
        close_end(write_end);
    }
    Pipe(const Pipe&) = delete;

    static void close_end(int& end)
    {
        if (end >= 0)
            close(end);
        end = -1;
    }
};

// Feeds stdin and drains stdout and stderr together: a program that writes before it has read everything must
// not wait.
void exchange(Pipe& in, Pipe& out, Pipe& error, const std::string& input, std::string& output,
              std::string& complaint)
{
    fcntl(in.write_end, F_SETFL, O_NONBLOCK);
    std::size_t sent = 0;
    if (input.empty())
        Pipe::close_end(in.write_end);
    while (out.read_end >= 0 || error.read_end >= 0) {
        std::array<pollfd, 3> waiting{pollfd{out.read_end, POLLIN, 0}, pollfd{error.read_end, POLLIN, 0},
                                      pollfd{in.write_end, POLLOUT, 0}};
        if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR)
            break;
        std::array<char, 65536> buffer{};
        const auto drain = [&](const pollfd& entry, int& end, std::string& into) {
            if (end < 0 || entry.revents == 0)
                return;
            const ssize_t count = read(end, buffer.data(), buffer.size());
            if (count > 0)
                into.append(buffer.data(), static_cast<std::size_t>(count));
            else if (count == 0 || errno != EINTR)
                Pipe::close_end(end);
        };
        drain(waiting[0], out.read_end, output);
        drain(waiting[1], error.read_end, complaint);
        if (in.write_end >= 0 && waiting[2].revents != 0) {
            const ssize_t count = write(in.write_end, input.data() + sent, input.size() - sent);
            if (count > 0)
                sent += static_cast<std::size_t>(count);
            if ((count < 0 && errno != EAGAIN && errno != EINTR) || sent == input.size())
                Pipe::close_end(in.write_end);
        }
    }
}

}  // namespace

std::string run_program(const std::vector<std::string>& command, const std::string& input,
                        const std::string& package_hint)
{
    Pipe in, out, error;
    std::vector<char*> arguments;
    for (const std::string& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in.read_end, 0);
    posix_spawn_file_actions_adddup2(&actions, out.write_end, 1);
    posix_spawn_file_actions_adddup2(&actions, error.write_end, 2);
    pid_t child = 0;
    const int failure = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0)
        throw std::runtime_error(fmt::format("{}: {}; {}", command[0], std::strerror(failure), package_hint));
    Pipe::close_end(in.read_end);
    Pipe::close_end(out.write_end);
    Pipe::close_end(error.write_end);

    const auto old_handler = std::signal(SIGPIPE, SIG_IGN);  // the program may stop reading early
    std::string output, complaint;
    exchange(in, out, error, input, output, complaint);
    std::signal(SIGPIPE, old_handler);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw std::runtime_error(fmt::format("{} failed: {}", command[0],
                                             complaint.empty() ? "no message" : complaint.substr(0, 500)));
    return output;
}

std::string lower_extension(const std::filesystem::path& file)
{
    std::string extension = file.extension().string();
    for (char& c : extension)
        c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return extension;
}

std::filesystem::path beside_trace(const std::filesystem::path& trace, const std::string& ending)
{
    std::filesystem::path folder = trace.lexically_normal();
    if (!folder.has_filename())
        folder = folder.parent_path();
    if (folder == "." || folder == ".." || folder.empty())
        folder = std::filesystem::canonical(trace);
    return folder.string() + "-" + ending;
}

void write_drawing(const std::string& svg, const std::filesystem::path& file, Overwrite overwrite,
                   double zoom)
{
    const std::string extension = lower_extension(file);
    const std::string hint =
        "install librsvg2-bin (Fedora: librsvg2-tools, Homebrew: librsvg), or name an output ending in .svg";
    if (extension == ".svg" || file == "-")
        write_whole_file(file, svg, overwrite);
    else if (extension == ".png")
        write_whole_file(
            file,
            run_program({"rsvg-convert", "--unlimited", "--format=png", fmt::format("--zoom={}", zoom)}, svg,
                        hint),
            overwrite);
    else if (extension == ".pdf")
        write_whole_file(file, run_program({"rsvg-convert", "--unlimited", "--format=pdf"}, svg, hint),
                         overwrite);
    else
        throw std::runtime_error(
            fmt::format("{}: drawings are written as .svg, .png or .pdf", file.string()));
}

}  // namespace pictor
