#include "core/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/error.h"

namespace strait::core {
namespace {

namespace fs = std::filesystem;

std::string reason() {
  return std::strerror(errno);
}

}  // namespace

std::string write_remedy(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "free space or choose another folder";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder you may write to";
    case ENOENT:
    case ENOTDIR:
      return "see whether its folder is still there";
    default:
      return "see to the disk or choose another folder";
  }
}

void fail_to(const std::string& act, const fs::path& path, int error) {
  throw RuntimeFault(path.string() + ": cannot " + act + ": " + std::strerror(error) + "; " +
                     write_remedy(error));
}

void make_folder_of(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) {
    throw InputError(path.string() + ": its folder cannot be made: " + failed.message() +
                     "; choose a folder you may write to");
  }
  if (::access(folder.c_str(), W_OK) == 0) return;
  const int error = errno;
  throw InputError(path.string() + ": its folder cannot be written to: " + std::strerror(error) +
                   "; " + write_remedy(error));
}

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) fail_to("open to flush", path, errno);
  const int failed = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (failed) fail_to("flush to disk", path, failed);
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path temporary = path.string() + ".tmp" + std::to_string(::getpid());
  try {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) fail_to("create", temporary, errno);
    write(out);
    out.close();
    if (!out) fail_to("write", temporary, errno);
    sync_path(temporary);
    publish(temporary, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

void publish(const fs::path& from, const fs::path& to) {
  std::error_code failed;
  fs::rename(from, to, failed);
  if (failed) fail_to("rename " + from.string() + " to it", to, failed.value());
  const fs::path parent = to.parent_path();
  sync_path(parent.empty() ? fs::path(".") : parent);
}

std::string read_file(const fs::path& path) {
  std::error_code unreadable;
  if (fs::is_directory(path, unreadable))
    throw InputError(path.string() + ": is a folder, expected a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw InputError(path.string() + ": cannot read: " + reason());
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace strait::core
