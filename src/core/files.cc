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

void sync_path(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) throw RuntimeFault(path.string() + ": cannot open to flush: " + reason());
  const int failed = ::fsync(fd);
  const std::string why = failed ? reason() : "";
  ::close(fd);
  if (failed) throw RuntimeFault(path.string() + ": cannot flush to disk: " + why);
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  const fs::path temporary = path.string() + ".tmp" + std::to_string(::getpid());
  try {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) throw RuntimeFault(temporary.string() + ": cannot create: " + reason());
    write(out);
    out.close();
    if (!out) {
      throw RuntimeFault(temporary.string() + ": cannot write: " + reason() +
                         "; free space or choose another folder");
    }
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
  if (failed) {
    throw RuntimeFault(to.string() + ": cannot rename " + from.string() +
                       " to it: " + failed.message());
  }
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
