#pragma once

#include "kernels/cuda/reduce.cuh"

namespace strait::kernels::cuda {

/// Position in a warp, and of the warp, in a block with threads along x.
__device__ __forceinline__ int lane_id() {
  return static_cast<int>(threadIdx.x) % kWarp;
}
__device__ __forceinline__ int warp_id() {
  return static_cast<int>(threadIdx.x) / kWarp;
}

}  // namespace strait::kernels::cuda
