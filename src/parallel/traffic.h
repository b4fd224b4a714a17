#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "parallel/comm_clock.h"

namespace strait::parallel {

/// What this rank sent to others, by boundary, what it is waiting for now, and how long collectives
/// held its device. Shared by all groups of a mesh; a watchdog may read the first two from another
/// thread.
class Traffic {
 public:
  struct Count {
    std::int64_t calls = 0;
    std::int64_t bytes = 0;  // that left this rank
  };
  /// A collective: `call` counts them from the start of the program.
  struct Call {
    std::string what;
    std::int64_t call = 0;
    std::int64_t step = 0;  // of the optimizer
    bool waiting = false;
    std::chrono::steady_clock::time_point since;
  };

  /// The optimizer step that is under way.
  void at_step(std::int64_t step);
  void enter(const char* what, std::int64_t bytes);
  void leave();

  std::map<std::string, Count> counts() const;
  Call last() const;
  void reset();

  CommClock& clock() { return clock_; }

 private:
  CommClock clock_;
  mutable std::mutex mutex_;
  std::map<std::string, Count> counts_;
  Call last_;
};

}  // namespace strait::parallel
