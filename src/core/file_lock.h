#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace strait::core {

/// An advisory lock on a file (flock): one process holds it alone, or any number of them share it.
/// It ends with the object and with the process, however that ends; children do not inherit it.
class FileLock {
 public:
  /// Opens `path`, which is made if it is not there. Throws RuntimeFault.
  explicit FileLock(const std::filesystem::path& path);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  /// Take the lock, or turn the one held into the other kind. False: another process is in the way,
  /// and nothing is held. Never wait. Where the file system has no locks, all get them.
  bool try_alone() { return take(true); }
  bool try_shared() { return take(false); }
  /// Why the file system refused to lock; empty: it did not.
  const std::string& unsupported() const { return unsupported_; }

  /// Lines that holders leave for others to read, which are no part of the lock: a full disk loses
  /// them.
  void clear_lines();
  void add_line(const std::string& line);
  std::vector<std::string> lines() const;

 private:
  bool take(bool alone);

  std::filesystem::path path_;
  int fd_ = -1;
  std::string unsupported_;
};

}  // namespace strait::core
