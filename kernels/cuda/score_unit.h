#pragma once

#include <cuda_runtime.h>

// Attention kernels multiply q k by `scale_log2`, a float near scale log2(e), and take powers of 2.
namespace strait::kernels::cuda {

/// Nats in a unit of such a score, as the sum of two floats: ln 2 times what rounding the factor
/// gained. An lse that counts in it does not inherit that rounding, which all scores share.
inline float2 score_unit(double scale, float scale_log2) {
  const double unit = scale_log2 == 0 ? 0 : scale / scale_log2;
  const auto high = static_cast<float>(unit);
  return {high, static_cast<float>(unit - high)};
}

}  // namespace strait::kernels::cuda
