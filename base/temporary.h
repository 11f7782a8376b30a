// Files and folders under names of their own until they are complete, and gone when the program is stopped
// before that.
#pragma once

#include <filesystem>
#include <string>

namespace pictor {

// ".NAME.partial-PID": hidden, beside `target`, and another one each time.
std::filesystem::path temporary_name(const std::filesystem::path& target);

// Makes the file and opens it to be written; -1 with errno set when that fails.
int create_temporary_file(const std::filesystem::path& file);
// Makes the folder; false with errno set when that fails.
bool create_temporary_folder(const std::filesystem::path& folder);

// Gives a temporary file or folder, with all in it, its final name. exchange: what bears that name gets the
// temporary one in the same step (and is to be removed), so that the name always stands for one of the two;
// where the file system cannot do that, the old one steps aside first. False with errno set when it fails.
bool put_in_place(const std::filesystem::path& temporary, const std::filesystem::path& target,
                  bool exchange = false);
// Removes it, with all in it.
void remove_temporary(const std::filesystem::path& temporary) noexcept;

// From here on SIGINT, SIGTERM, SIGHUP and SIGPIPE remove what is temporary before they end the program. For
// main().
void remove_temporaries_when_stopped();

}  // namespace pictor
