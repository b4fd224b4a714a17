#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace strait::parallel {

/// What a rank shows of itself: where it is, and that it lives. Plain bytes.
struct Sign {
  std::int64_t beat = 0;  // grows while it lives; 0: nothing heard yet
  std::int64_t step = 0, call = 0;
  bool waiting = false, finished = false;
  char what[64] = {};
};

/// A host as its ranks see it, and as others reach it.
struct HostIdentity {
  std::string name, address;
  /// This machine, reached by its name.
  static HostIdentity own();
};

/// Carries signs between hosts while collectives hang: every rank sends its own by UDP to the first
/// rank of each other host. Where the network lets nothing through, nothing is heard and nothing
/// fails. Datagrams of other runs are passed over.
class HostSigns {
 public:
  /// Collective. `hosts`: names of all ranks' hosts; `address`: of this rank's.
  HostSigns(Communicator& world, const std::vector<std::string>& hosts, const std::string& address);
  ~HostSigns();
  HostSigns(const HostSigns&) = delete;
  HostSigns& operator=(const HostSigns&) = delete;

  void send(const Sign& sign) const;
  /// Calls `take` with every sign that has come since the last call, oldest first.
  void receive(const std::function<void(int rank, const Sign& sign)>& take) const;

 private:
  struct Datagram;
  int socket_ = -1;
  int rank_;
  std::uint64_t run_ = 0;
  std::vector<std::vector<char>> peers_;  // socket addresses
};

}  // namespace strait::parallel
