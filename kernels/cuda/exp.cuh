#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/dtype.cuh"

namespace strait::kernels::cuda {

/// e^x for results kept in T. In bf16 the hardware's approximation is far below the rounding.
template <class T>
__device__ float exp_for(float x) {
  if constexpr (sizeof(T) == 2) {
    return __expf(x);
  } else {
    return expf(x);
  }
}

/// 1 / (1 + e^-x) for results kept in T.
template <class T>
__device__ float sigmoid_for(float x) {
  const float denominator = 1.0f + exp_for<T>(-x);
  if constexpr (sizeof(T) == 2) {
    return __fdividef(1.0f, denominator);
  } else {
    return __frcp_rn(denominator);
  }
}

}  // namespace strait::kernels::cuda
