#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/wide_linear.h"

namespace strait::kernels::cuda {

/// The results of a wide map in parts: sums [T, 3 padded] in f32. Output o of a token is the sum of
/// columns o, o + padded and o + 2 padded, taken from the smallest, the last.
struct WideParts {
  const float* sums;
  int padded;

  __device__ float operator()(std::int64_t token, std::int64_t output) const {
    const float* part = sums + token * 3 * padded + output;
    return (part[2 * padded] + part[padded]) + part[0];
  }
};

/// Writes op.parts and makes the product, in the stream's workspace. Precondition: x in bf16.
WideParts multiply_parts(const WideLinearFwd& op, const Call& call);

}  // namespace strait::kernels::cuda
