#include "input/coprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/error.h"

extern char** environ;

namespace strait::input {
namespace {

constexpr std::uint32_t kError = 0xFFFFFFFF;

}  // namespace

Coprocess::Coprocess(std::vector<std::string> command) : name_(command.front()) {
  // A socket, not pipes: writing to a program that has ended is then an error, not a signal.
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw core::RuntimeFault(name_ + ": cannot make a socket: " + std::strerror(errno));
  }
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  const int failed = ::posix_spawnp(&process_, words[0], &actions, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  socket_ = ends[0];
  if (failed == 0) return;
  ::close(socket_);
  throw core::RuntimeFault(name_ + ": cannot start: " + std::strerror(failed));
}

Coprocess::~Coprocess() {
  ::close(socket_);
  ::waitpid(process_, nullptr, 0);
}

void Coprocess::ended() const {
  throw core::RuntimeFault(name_ + ": ended before it answered; its own message is above");
}

void Coprocess::send(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::send(socket_, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) ended();
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
}

void Coprocess::receive(void* data, std::size_t bytes) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::recv(socket_, at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) ended();
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

std::string Coprocess::receive_text(std::uint32_t length) {
  std::string text(length, '\0');
  receive(text.data(), length);
  return text;
}

std::string Coprocess::ask(std::string_view question) {
  if (question.size() >= kError) {
    throw core::InputError(name_ + ": a text of " + std::to_string(question.size()) +
                           " bytes is too long; split it into documents below 4 GiB");
  }
  const auto length = static_cast<std::uint32_t>(question.size());
  send(&length, sizeof length);
  send(question.data(), question.size());
  std::uint32_t answer = 0;
  receive(&answer, sizeof answer);
  if (answer != kError) return receive_text(answer);
  receive(&answer, sizeof answer);
  throw core::InputError(receive_text(answer));
}

}  // namespace strait::input
