#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace strait::parallel {

/// This rank among those of its host.
struct HostRanks {
  std::vector<std::string> hosts;  // of every rank of the job
  std::string host;                // of this one
  int ranks = 1;                   // on this host
  int place = 0;                   // of this rank among them
  bool all() const { return ranks == static_cast<int>(hosts.size()); }
};

/// Collective.
HostRanks host_ranks(Communicator& world);

}  // namespace strait::parallel
