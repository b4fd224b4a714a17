#include "parallel/device_share.h"

#include <algorithm>
#include <vector>

#include "parallel/comm_nccl.h"

namespace strait::parallel {

DeviceShare share_devices(Device device, Communicator& world) {
  DeviceShare share{.here = host_ranks(world)};
  const int found = kernels::device_count(device);
  share.devices = std::max(1, found);  // a plan may be for a device that is not here
  const int index = share.here.place % share.devices;
  share.sharers = (share.here.ranks - index - 1) / share.devices + 1;
  if (found > 0) kernels::use_device(device, index);
  const bool own = device == Device::cuda && share.here.ranks <= found && !nccl_version().empty();
  const std::vector<std::string> all = world.gather_all(own ? "1" : "0");
  share.own_gpus = std::ranges::count(all, "1") == world.size();
  return share;
}

}  // namespace strait::parallel
