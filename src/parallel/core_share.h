#pragma once

#include <string>

#include "parallel/host_ranks.h"

namespace strait::parallel {

/// How the ranks of this rank's host share its cores.
struct CoreShare {
  HostRanks here;
  int cores = 1;    // that this rank may run on
  int sharers = 1;  // ranks of this host that may run on the same ones, itself among them
  int given = 0;    // cores of the mpirun, or of its daemon, that started this rank; 0: another did
};

/// Collective.
CoreShare share_cores(HostRanks here, Communicator& world);

/// What a host's first rank is to tell where mpirun bound ranks to half of their share of its own
/// cores or less; "" where it did not, and on the other ranks.
std::string bound_too_tightly(const CoreShare& share);

}  // namespace strait::parallel
