#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "parallel/communicator.h"

namespace strait::parallel {

/// Ends this process, with a message, when another rank has ended or hangs: nobody else would while
/// a collective waits. A thread shows what this rank does on a board in memory that the ranks of a
/// host share, and reads the others' there. A fault of a rank on another host shows as a collective
/// that waits longer than the limit. Exit code 3.
class Watchdog {
 public:
  /// Collective. `limit`: how long a collective may wait, and a rank give no sign of life.
  Watchdog(Communicator& world, std::chrono::duration<double> limit);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct Board;
  void watch();
  void show() const;
  /// Why the run cannot go on; empty while it can.
  std::string verdict() const;
  std::string of_rank(int rank) const;

  Traffic& traffic_;
  int rank_;
  std::chrono::duration<double> limit_;
  std::unique_ptr<Board> board_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace strait::parallel
