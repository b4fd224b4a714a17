#include "parallel/core_share.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
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

}  // namespace

CoreShare share_cores(Communicator& world) {
  const cpu_set_t mine = cores_of(0), given = cores_of(::getppid());
  CoreShare share{.host = core::host_name(),
                  .cores = std::max(1, CPU_COUNT(&mine)),
                  .given = CPU_COUNT(&given)};
  const std::vector<std::string> hosts = world.gather_all(share.host);
  share.ranks = static_cast<int>(std::ranges::count(hosts, share.host));
  std::string where = share.host + " ";
  for (int core = 0; core < CPU_SETSIZE; ++core) where += CPU_ISSET(core, &mine) ? '1' : '0';
  share.sharers = static_cast<int>(std::ranges::count(world.gather_all(where), where));
  return share;
}

std::string bound_too_tightly(const CoreShare& share) {
  if (2 * share.cores * share.ranks > share.given || share.cores >= share.given) return "";
  return "ranks of " + share.host + " are bound to " + std::to_string(share.cores) + " of " +
         std::to_string(share.given) +
         " cores each; to let them share all: mpirun --bind-to none ...";
}

}  // namespace strait::parallel
