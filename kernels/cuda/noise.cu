#include "kernels/cuda/noise.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"

namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// Mixes the bits of an index (the finaliser of MurmurHash3).
__device__ std::uint32_t mixed(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

template <class T>
__global__ void noise(T* data, std::int64_t count) {
  const std::int64_t i = blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x;
  if (i >= count) return;
  // Box and Muller.
  const std::uint32_t first = mixed(2 * static_cast<std::uint32_t>(i));
  const std::uint32_t second = mixed(2 * static_cast<std::uint32_t>(i) + 1);
  const float radius = sqrtf(-2.0f * logf((static_cast<float>(first) + 1.0f) * 0x1p-32f));
  data[i] = from_float<T>(radius * cospif(static_cast<float>(second) * 0x1p-31f));
}

}  // namespace

void fill_noise(void* data, std::int64_t count, DType dtype) {
  const Stream stream{.device = Device::cuda};
  with_real(dtype, "noise", [&](auto real) {
    using T = decltype(real);
    launch_kernel({"noise", stream}, {blocks_for(count, kThreads), kThreads}, noise<T>,
                  static_cast<T*>(data), count);
  });
}

}  // namespace strait::kernels::cuda
