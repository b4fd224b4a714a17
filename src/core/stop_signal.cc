#include "core/stop_signal.h"

#include <signal.h>

#include <atomic>

namespace strait::core {
namespace {

/// A handler can reach nothing but a global; this one is written by handlers alone. Whichever
/// thread takes the signal runs the handler, and sig_atomic_t is safe within one thread only.
std::atomic<int> first_signal = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a handler must not wait for a lock");

void note(int signal) {
  first_signal = signal;
}

}  // namespace

void watch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) ::sigaction(signal, &action, nullptr);
}

std::string stop_signal() {
  switch (first_signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "";
  }
}

}  // namespace strait::core
