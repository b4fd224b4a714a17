#include "parallel/host_ranks.h"

#include <algorithm>

#include "core/host_name.h"

namespace strait::parallel {

HostRanks host_ranks(Communicator& world) {
  HostRanks here{.hosts = {}, .host = core::host_name()};
  here.hosts = world.gather_all(here.host);
  const auto begin = here.hosts.begin();
  here.ranks = static_cast<int>(std::ranges::count(here.hosts, here.host));
  here.place = static_cast<int>(std::count(begin, begin + world.rank(), here.host));
  return here;
}

}  // namespace strait::parallel
