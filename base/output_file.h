// Every file that a program writes, and the one rule about what is there already.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace pictor {

// For --help of every command that writes.
constexpr const char* overwriting_rule =
    "Files are written beside their final name and renamed when complete. A file of the same kind (PNG, SVG, "
    "PDF, HTML, JSON, safetensors) is replaced; another file, or a folder, only with --force, and never a "
    "folder that holds anything else. Pipes and devices are written to.";

// What may happen to a file of this name.
enum class Overwrite {
    same_kind,  // it is replaced when its first bytes look like what is being written, or when it is empty
    any_file,   // it is replaced: --force
    new_file    // there is none, because the folder is new and under a temporary name itself
};

class OutputFile {
public:
    // "-" is standard output. Throws std::runtime_error naming the file, as all of these do.
    explicit OutputFile(std::filesystem::path path, Overwrite overwrite = Overwrite::new_file);
    ~OutputFile();  // not closed: removes what was written
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;

    void write(std::string_view bytes);

    void close();

private:
    static constexpr std::size_t capacity = 1 << 16;

    void open_in_place();
    void flush();
    void write_through(const char* bytes, std::size_t count);
    void check_kind() const;
    [[noreturn]] void fail(const std::string& why) const;
    [[noreturn]] void fail_with_errno() const;

    std::filesystem::path path_, target_, temporary_;  // as named; links followed; empty: written in place
    Overwrite overwrite_;
    int file_ = -1;
    std::string start_;  // the first bytes, which tell the kind
    std::unique_ptr<char[]> buffer_;
    std::size_t used_ = 0;
};

// All of a file at once.
void write_whole_file(const std::filesystem::path& path, std::string_view bytes, Overwrite overwrite);

}  // namespace pictor
