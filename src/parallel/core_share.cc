#include "parallel/core_share.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/host_name.h"

namespace strait::parallel {
namespace {

/// The cores that a process may run on; none where nobody says.
cpu_set_t cores_of(pid_t process) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  ::sched_getaffinity(process, sizeof cores, &cores);
  return cores;
}

/// Cores of the mpirun that started this process. Others' say nothing: a shell knows nothing of
/// taskset, and srun's daemon may use cores that the job was not given.
int cores_of_mpirun() {
  if (!std::getenv("OMPI_COMM_WORLD_SIZE")) return 0;
  const cpu_set_t cores = cores_of(::getppid());
  return CPU_COUNT(&cores);
}

}  // namespace

CoreShare share_cores(Communicator& world) {
  const cpu_set_t mine = cores_of(0);
  CoreShare share{.host = core::host_name(),
                  .cores = std::max(1, CPU_COUNT(&mine)),
                  .given = cores_of_mpirun()};
  const std::vector<std::string> hosts = world.gather_all(share.host);
  share.place =
      static_cast<int>(std::count(hosts.begin(), hosts.begin() + world.rank(), share.host));
  share.ranks = static_cast<int>(std::ranges::count(hosts, share.host));
  std::string where = share.host + " ";
  for (int core = 0; core < CPU_SETSIZE; ++core) where += CPU_ISSET(core, &mine) ? '1' : '0';
  share.sharers = static_cast<int>(std::ranges::count(world.gather_all(where), where));
  return share;
}

std::string bound_too_tightly(const CoreShare& share) {
  if (share.place > 0) return "";
  if (2 * share.cores * share.ranks > share.given || share.cores >= share.given) return "";
  return "ranks of " + share.host + " are bound to " + std::to_string(share.cores) + " of " +
         std::to_string(share.given) +
         " cores each; to let them share all: mpirun --bind-to none ...";
}

}  // namespace strait::parallel
