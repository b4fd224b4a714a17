#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace strait::ablate {

/// A program to start.
struct Command {
  std::vector<std::string> arguments;  // the first is the program, searched in PATH without a '/'
  std::vector<std::pair<std::string, std::string>> environment = {};  // over the own one
  std::filesystem::path output = {};  // stdout and stderr are appended here; empty: the own ones
};

/// A process in a group of its own. It is killed when this program dies, whatever the reason.
class Child {
 public:
  /// Throws RuntimeFault when no process can be made; a program that cannot be started ends with
  /// exit code 127 and says why in the output.
  explicit Child(const Command& command);
  /// Kills the group if it still runs.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&&) = delete;

  /// The exit code once the process ended (128 + n after signal n), nothing before. Does not wait.
  std::optional<int> poll();
  int wait();
  /// Sends a signal to the whole group.
  void signal(int number) const;

 private:
  pid_t pid_ = 0;  // 0: ended
};

}  // namespace strait::ablate
