#pragma once

#include <memory>
#include <string>

namespace strait::core {

/// Log of one process: rank 0 writes to the terminal and, once open_file() was called, to a file.
/// Other ranks write warnings only, to the terminal, under their rank number.
class Log {
 public:
  explicit Log(int rank);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Appends to `path` from now on. Throws RuntimeFault when it cannot be opened.
  void open_file(const std::string& path);
  void info(const std::string& message);
  void warn(const std::string& message);
  /// A line that replaces the previous progress line on a terminal; never goes to the file.
  void progress(const std::string& message);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace strait::core
