#include "ablate/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/host_name.h"

namespace strait::ablate {

FolderLock::FolderLock(const std::filesystem::path& folder, double patience_s) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  const std::string path = (folder / "ablate.lock").string();
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT, 0644);
  if (file_ < 0) {
    throw core::InputError(folder.string() + ": cannot be written (" + std::strerror(errno) +
                           "); choose a folder you may write to with --out");
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience_s);
  while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= end) {
      ::close(file_);
      throw core::InputError(folder.string() + ": in use by " + core::read_file(path) +
                             "; wait for it, or choose another folder with --out");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  const std::string owner = "process " + std::to_string(::getpid()) + " on " + core::host_name();
  if (::ftruncate(file_, 0) == 0 && ::pwrite(file_, owner.data(), owner.size(), 0) < 0) return;
}

FolderLock::~FolderLock() {
  ::close(file_);
}

}  // namespace strait::ablate
