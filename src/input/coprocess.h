#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strait::input {

/// A program that answers questions on its standard input and output: texts that are preceded by
/// their length, u32 in native byte order. An answer of length 2^32 - 1 is an error, and its text
/// follows as another. Not thread-safe.
class Coprocess {
 public:
  /// Starts `command`. Throws RuntimeFault when it cannot be started.
  explicit Coprocess(std::vector<std::string> command);
  /// Closes its input and waits for its end.
  ~Coprocess();
  Coprocess(const Coprocess&) = delete;
  Coprocess& operator=(const Coprocess&) = delete;

  /// Throws InputError with the program's words when it answers with an error, RuntimeFault when it
  /// has ended (what it wrote to stderr is on the terminal).
  std::string ask(std::string_view question);

 private:
  void send(const void* data, std::size_t bytes);
  void receive(void* data, std::size_t bytes);
  std::string receive_text(std::uint32_t length);
  [[noreturn]] void ended() const;

  std::string name_;
  int socket_ = -1;
  pid_t process_ = -1;
};

}  // namespace strait::input
