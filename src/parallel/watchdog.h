#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "parallel/communicator.h"
#include "parallel/host_signs.h"

namespace strait::parallel {

/// Ends this process, with a message, when another rank has ended or hangs: nobody else would while
/// a collective waits. A thread shows what this rank does on a board in memory that the ranks of a
/// host share, and reads the others' there; ranks of other hosts are heard of by HostSigns. One of
/// those that ended shows as one that gives no sign of life while this rank waits. Exit code 3.
class Watchdog {
 public:
  /// Collective. `limit`: how long a collective may wait, and a rank give no sign of life.
  Watchdog(Communicator& world, std::chrono::duration<double> limit,
           const HostIdentity& host = HostIdentity::own());
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  struct Board;
  void watch();
  void show(bool finished = false) const;
  void hear() const;
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
