#pragma once

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/reduce.cuh"

namespace strait::kernels::cuda {

/// Sum of squares, in double, of the packets that `pieces` blocks of kThreads threads deal to block
/// `piece`: an order fixed by n and the number of pieces. Valid in thread 0; collective.
template <class T, int kWidth, int kThreads>
__device__ double square_sum(const T* x, std::int64_t n, std::int64_t piece, std::int64_t pieces) {
  __shared__ double partials[kWarp];
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = (piece * kThreads + threadIdx.x) * kWidth; i < n;
       i += pieces * kThreads * kWidth) {
    const Packet<T, kWidth> packet = Packet<T, kWidth>::load(x + i, n - i);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const double value = packet.get(j);
      sum = fma(value, value, sum);
    }
  }
  return block_reduce(sum, partials);
}

}  // namespace strait::kernels::cuda
