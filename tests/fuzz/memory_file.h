#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace strait::fuzz {

/// A file in memory that readers open by its path, made once and filled anew for every run.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", 0)) {
    if (fd_ < 0) std::abort();
  }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }
  void fill(const std::uint8_t* data, std::size_t size) const {
    const bool emptied = ::ftruncate(fd_, 0) == 0;
    if (!emptied || ::pwrite(fd_, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  }

 private:
  int fd_;
};

}  // namespace strait::fuzz
