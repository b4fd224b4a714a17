#include "core/cores.h"

#include <sched.h>

namespace strait::core {

std::bitset<1024> cores_of(int process) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  std::bitset<1024> cores;
  static_assert(CPU_SETSIZE == cores.size());
  if (::sched_getaffinity(process, sizeof allowed, &allowed) != 0) return cores;
  for (std::size_t core = 0; core < cores.size(); ++core) cores[core] = CPU_ISSET(core, &allowed);
  return cores;
}

}  // namespace strait::core
