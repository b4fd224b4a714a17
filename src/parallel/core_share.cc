#include "parallel/core_share.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/cores.h"

namespace strait::parallel {
namespace {

/// Cores of the mpirun that started this process. Others' say nothing: a shell knows nothing of
/// taskset, and srun's daemon may use cores that the job was not given.
int cores_of_mpirun() {
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return 0;
  return static_cast<int>(core::cores_of(::getppid()).count());
}

}  // namespace

CoreShare share_cores(HostRanks here, Communicator& world) {
  const auto mine = core::cores_of();
  const std::string where = here.host + " " + mine.to_string();
  CoreShare share{.here = std::move(here),
                  .cores = std::max(1, static_cast<int>(mine.count())),
                  .given = cores_of_mpirun()};
  share.sharers = static_cast<int>(std::ranges::count(world.gather_all(where), where));
  return share;
}

std::string bound_too_tightly(const CoreShare& share) {
  if (share.here.place > 0) return "";
  if (2 * share.cores * share.here.ranks > share.given || share.cores >= share.given) return "";
  return "ranks of " + share.here.host + " are bound to " + std::to_string(share.cores) + " of " +
         std::to_string(share.given) +
         " cores each; to let them share all: mpirun --bind-to none ...";
}

}  // namespace strait::parallel
