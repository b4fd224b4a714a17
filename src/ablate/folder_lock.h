#pragma once

#include <filesystem>

namespace strait::ablate {

/// Holds a folder against other processes, and against the children of one that died, which
/// inherit it. Makes the folder. Waits up to `patience_s` seconds; then throws InputError naming
/// who holds it.
class FolderLock {
 public:
  FolderLock(const std::filesystem::path& folder, double patience_s);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_ = -1;
};

}  // namespace strait::ablate
