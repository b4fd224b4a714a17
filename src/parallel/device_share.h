#pragma once

#include "kernels/memory.h"
#include "parallel/host_ranks.h"

namespace strait::parallel {

/// How the ranks of a job share the devices of this rank's host.
struct DeviceShare {
  HostRanks here;
  int devices = 1;        // of this host; one cpu
  int sharers = 1;        // ranks that compute on this rank's device, itself among them
  bool own_gpus = false;  // every rank of the job has a GPU of its own and finds NCCL
};

/// Gives this rank the device that its place among the ranks of its host names, in turn. Call it
/// before anything is allocated there or asked of the device. Collective. Throws DeviceError.
DeviceShare share_devices(Device device, Communicator& world);

}  // namespace strait::parallel
