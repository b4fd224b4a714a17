#include "parallel/device_share.h"

#include <algorithm>
#include <vector>

#include "core/host_name.h"
#include "parallel/comm_nccl.h"

namespace strait::parallel {

DeviceShare share_devices(Device device, Communicator& world) {
  DeviceShare share{.host = core::host_name()};
  const std::vector<std::string> hosts = world.gather_all(share.host);
  share.place =
      static_cast<int>(std::count(hosts.begin(), hosts.begin() + world.rank(), share.host));
  share.ranks = static_cast<int>(std::ranges::count(hosts, share.host));
  const int found = kernels::device_count(device);
  share.devices = std::max(1, found);  // a plan may be for a device that is not here
  const int index = share.place % share.devices;
  share.sharers = (share.ranks - index - 1) / share.devices + 1;
  if (found > 0) kernels::use_device(device, index);
  const bool own = device == Device::cuda && share.ranks <= found && !nccl_version().empty();
  const std::vector<std::string> all = world.gather_all(own ? "1" : "0");
  share.own_gpus = std::ranges::count(all, "1") == world.size();
  return share;
}

}  // namespace strait::parallel
