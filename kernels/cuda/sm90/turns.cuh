#pragma once

#include "kernels/cuda/sm90/barrier.cuh"

// The order in which blocks add to one place in global memory: a counter of those that have, zero
// before the first. For the thread that makes the additions by TMA and has waited for them
// (wait_stores).
namespace strait::kernels::cuda::sm90 {

/// Waits until those before `rank` have added.
__device__ __forceinline__ void wait_for_turn(const int* turn, int rank) {
  int made = 0;
  while (made < rank) {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];\n" : "=r"(made) : "l"(turn) : "memory");
  }
  fence_global_for_async();
}

/// Tells that `rank` has, too; -1 makes the counter zero again.
__device__ __forceinline__ void pass_turn(int* turn, int rank) {
  fence_global_for_async();
  asm volatile("st.release.gpu.global.s32 [%0], %1;\n" ::"l"(turn), "r"(rank + 1) : "memory");
}

}  // namespace strait::kernels::cuda::sm90
