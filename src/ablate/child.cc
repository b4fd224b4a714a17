#include "ablate/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

extern char** environ;

namespace strait::ablate {
namespace {

constexpr int kCannotStart = 127;

/// "NAME=value" of the own environment with the command's over it.
std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    bool replaced = false;
    for (const auto& [own, value] : command.environment) replaced |= own == name;
    if (!replaced) all.push_back(text);
  }
  for (const auto& [name, value] : command.environment) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// Between fork and exec: nothing here allocates.
[[noreturn]] void become(char* const* arguments, char* const* environment, const char* output,
                         pid_t parent) {
  ::setpgid(0, 0);
  // Killed with its parent; which may have died before this line.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotStart);
  if (*output) {
    const int file = ::open(output, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file >= 0) {
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      ::close(file);
    }
  }
  const int input = ::open("/dev/null", O_RDONLY);
  if (input >= 0) ::dup2(input, STDIN_FILENO);
  ::execvpe(arguments[0], arguments, environment);
  const char* const parts[] = {arguments[0], ": cannot be started: ", std::strerror(errno), "\n"};
  for (const char* part : parts) {
    if (::write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  ::_exit(kCannotStart);
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Child::Child(const Command& command) {
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> environment = environment_of(command);
  const std::vector<char*> argument_list = pointers(arguments);
  const std::vector<char*> environment_list = pointers(environment);
  const std::string output = command.output.string();
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(argument_list.data(), environment_list.data(), output.c_str(), parent);
  if (pid_ < 0) {
    pid_ = 0;
    throw core::RuntimeFault("cannot start " + arguments[0] + ": " + std::strerror(errno));
  }
  ::setpgid(pid_, pid_);  // in both, so that the group is there whoever comes first
}

Child::~Child() {
  if (pid_ == 0) return;
  signal(SIGKILL);
  wait();
}

std::optional<int> Child::poll() {
  int status = 0;
  if (pid_ == 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  return exit_code_of(status);
}

int Child::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return exit_code_of(status);
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(-pid_, number);
}

}  // namespace strait::ablate
