#include "core/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"

namespace strait::core {

FileLock::FileLock(const std::filesystem::path& path)
    : path_(path), fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (fd_ < 0) throw RuntimeFault(path.string() + ": cannot open: " + std::strerror(errno));
}

FileLock::~FileLock() {
  ::close(fd_);
}

bool FileLock::take(bool alone) {
  int failed = 0;
  do {
    failed = ::flock(fd_, (alone ? LOCK_EX : LOCK_SH) | LOCK_NB);
  } while (failed && errno == EINTR);
  if (failed && errno == EWOULDBLOCK) return false;
  if (failed) unsupported_ = std::strerror(errno);
  return true;
}

void FileLock::clear_lines() {
  if (::ftruncate(fd_, 0) != 0) return;
}

void FileLock::add_line(const std::string& line) {
  const std::string text = line + "\n";
  if (::write(fd_, text.data(), text.size()) < 0) return;
}

std::vector<std::string> FileLock::lines() const {
  std::vector<std::string> all;
  std::ifstream in(path_);
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

}  // namespace strait::core
