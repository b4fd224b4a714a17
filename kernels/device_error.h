#pragma once

#include <stdexcept>

namespace strait::kernels {

/// A call of the device's runtime or libraries failed. The message names the op or call, the shapes
/// and the launch, and what the runtime said. Not the caller's input: a fault of the run.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace strait::kernels
