#pragma once

#include "kernels/device_info.h"

// Of the current CUDA device, behind kernels/device_info.h.
namespace strait::kernels::cuda {

DeviceInfo device_info();
DeviceStatus device_status();

}  // namespace strait::kernels::cuda
