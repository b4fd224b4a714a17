#pragma once

#include <cstdint>

#include "kernels/cross_entropy.h"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/exp.cuh"

namespace strait::kernels::cuda {

struct Labels {
  const std::int32_t* data;
  std::int64_t vocab_begin, vocab;

  /// Column of a row's label within this block of the vocabulary, or -1.
  __device__ std::int64_t column(std::int64_t row) const {
    const std::int64_t at = data[row] - vocab_begin;
    return data[row] != kIgnoreLabel && at >= 0 && at < vocab ? at : -1;
  }
};

/// Running maximum and sum of exp(x - max) of some logits.
struct Online {
  float max = -INFINITY;
  float sum = 0;

  /// What to subtract: -inf - -inf would be NaN.
  __device__ float shift() const { return max == -INFINITY ? 0.0f : max; }

  template <int kWidth>
  __device__ void add(const Floats<kWidth>& x) {
    float packet_max = x[0];
#pragma unroll
    for (int j = 1; j < kWidth; ++j) packet_max = fmaxf(packet_max, x[j]);
    if (packet_max > max) {
      const float old = max;
      max = packet_max;
      sum *= expf(old - max);
    }
    const float by = shift();
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum += expf(x[j] - by);
  }
};

}  // namespace strait::kernels::cuda
