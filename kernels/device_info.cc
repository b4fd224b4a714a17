#include "kernels/device_info.h"

#include <array>
#include <utility>

#include "kernels/cuda/device_info.h"

namespace strait::kernels {
namespace {

/// Data sheets; the first name that is part of the device's decides.
constexpr std::array<std::pair<const char*, double>, 8> kPeaks = {{
    {"H100 PCIe", 756e12},
    {"H100 NVL", 835e12},
    {"H100", 989.4e12},
    {"H200 NVL", 835e12},
    {"H200", 989.4e12},
    {"H800", 989.4e12},
    {"A100", 312e12},
    {"A800", 312e12},
}};

}  // namespace

double bf16_peak(const std::string& name) {
  for (const auto& [part, peak] : kPeaks) {
    if (name.find(part) != std::string::npos) return peak;
  }
  return 0;
}

DeviceInfo device_info(Device device) {
  return device == Device::cuda ? cuda::device_info() : DeviceInfo{};
}

DeviceStatus device_status(Device device) {
  return device == Device::cuda ? cuda::device_status() : DeviceStatus{};
}

}  // namespace strait::kernels
