#pragma once

#include <filesystem>
#include <functional>
#include <ostream>
#include <string>

namespace strait::core {

/// "free space or choose another folder": what helps against an errno of a write.
std::string write_remedy(int error);

/// Throws RuntimeFault "path: cannot `act`: reason; remedy" for the errno of what was to write
/// there.
[[noreturn]] void fail_to(const std::string& act, const std::filesystem::path& path, int error);

/// Makes the folder that `path` is to be written to. Throws InputError when it cannot be made or
/// written to.
void make_folder_of(const std::filesystem::path& path);

/// Writes a file whole or not at all: temporary name, fsync, rename, fsync of the folder.
/// Throws RuntimeFault with path, reason and remedy; the old file stays.
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(std::ostream&)>& write);

/// Flushes a file's or folder's contents to the disk. Throws RuntimeFault.
void sync_path(const std::filesystem::path& path);

/// Renames a finished file or folder to its final name and syncs the parent folder.
void publish(const std::filesystem::path& from, const std::filesystem::path& to);

/// Whole file as a string. Throws InputError naming the path and the reason.
std::string read_file(const std::filesystem::path& path);

}  // namespace strait::core
