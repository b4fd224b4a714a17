#pragma once

#include <string>

#include "parallel/communicator.h"

namespace strait::parallel {

/// How the ranks of this rank's host share its cores.
struct CoreShare {
  std::string host;
  int ranks = 1;    // on this host
  int cores = 1;    // that this rank may run on
  int sharers = 1;  // ranks of this host that may run on the same ones, itself among them
  int given = 1;    // cores of the process that started this rank, mpirun say
};

/// Collective.
CoreShare share_cores(Communicator& world);

/// What to tell of ranks that mpirun bound to half of their share of its own cores or less; ""
/// where it did not.
std::string bound_too_tightly(const CoreShare& share);

}  // namespace strait::parallel
