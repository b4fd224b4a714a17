#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/stream.h"

namespace strait::kernels {

/// What is known of the device this process computes on.
struct DeviceInfo {
  std::string name = "cpu";
  std::string driver;            // "" off cuda
  std::string runtime;           // CUDA version; "" off cuda
  std::string id;                // tells devices of a machine apart
  std::size_t memory_bytes = 0;  // in all
  std::size_t free_bytes = 0;    // now, over all processes
  double bf16_flops_per_second =
      0;  // dense BF16 peak with FP32 sums, NVIDIA's figure; 0: not known
};

DeviceInfo device_info(Device device);

/// Dense BF16 peak in FLOP/s of the device named so by the driver; 0: not known.
double bf16_peak(const std::string& name);

/// The state of a device at one moment, as its driver reports it.
struct DeviceStatus {
  bool known = false;
  int clock_mhz = 0;  // of the multiprocessors
  double power_w = 0;
  int temperature_c = 0;
  std::string throttle;  // reasons for lowered clocks, comma-separated; "" when none
};

/// Takes about a millisecond; not known off cuda and where the driver's library is not found.
DeviceStatus device_status(Device device);

}  // namespace strait::kernels
