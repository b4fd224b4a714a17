#include "kernels/cuda/launch.cuh"

#include <sstream>

#include "kernels/device_error.h"

namespace strait::kernels::cuda {
namespace {

std::ostream& operator<<(std::ostream& out, dim3 d) {
  return out << d.x << "x" << d.y << "x" << d.z;
}

}  // namespace

void throw_launch_error(const Call& call, const Grid& grid, cudaError_t status) {
  std::ostringstream message;
  message << call.op << ": launch failed: " << cudaGetErrorString(status) << "; tensors";
  for (const ConstTensor& t : call.tensors) {
    if (t.defined()) message << " " << t.shape_string();
  }
  message << ", grid " << grid.blocks << ", block " << grid.threads << ", dynamic shared memory "
          << grid.shared_bytes << " bytes";
  throw DeviceError(message.str());
}

}  // namespace strait::kernels::cuda
