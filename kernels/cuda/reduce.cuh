#pragma once

#include <cuda_runtime.h>

// Sums and maxima over lanes and blocks. The order is fixed by the shape of the block, so results
// repeat bit for bit; every thread receives the same value.
namespace strait::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Over aligned groups of `lanes` (a power of two) lanes; all lanes of the warp take part.
template <class T, class Combine = Sum>
__device__ T group_reduce(T value, int lanes, Combine combine = {}) {
  for (int step = lanes / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

template <class T, class Combine = Sum>
__device__ T warp_reduce(T value, Combine combine = {}) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

/// Over a block of whole warps in x. `partials` is shared, one element per warp, and must not be
/// read or written by anything else until the next barrier: alternate between two, or add one.
template <class T, class Combine = Sum>
__device__ T block_reduce(T value, T* partials, T neutral = T(0), Combine combine = {}) {
  value = warp_reduce(value, combine);
  const int warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  if (warps == 1) return value;
  if (lane == 0) partials[threadIdx.x / kWarp] = value;
  __syncthreads();
  return warp_reduce(lane < warps ? partials[lane] : neutral, combine);
}

}  // namespace strait::kernels::cuda
