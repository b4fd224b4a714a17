#pragma once

#include <cstdint>

#include "kernels/attention.h"

// Plain float32 arithmetic of the naive side (device_test.h).
namespace strait::kernels::test {

/// `count` values that lie `step` apart.
struct Line {
  const float* first;
  std::int64_t step;
  float operator[](std::int64_t i) const { return first[i * step]; }
};

/// Sum of products in order: one rounded product after the other. Products with bf16 (a float on
/// the other side is cut into parts of bf16) are summed in float as the instruction for them does:
/// 16 at a time, exactly, and the sum truncated (Fasi, Higham, Mikaitis, Pranesh, "Numerical
/// behavior of NVIDIA tensor cores", 2021).
float naive_dot(const Line& a, const Line& b, std::int64_t count);

/// Attention query by query. What a kernel must round to `storage` before it enters a second
/// product is rounded: the probabilities and, in the backward, the gradients of the scores.
void run_naive(const AttentionFwd& op, DType storage);
void run_naive(const AttentionBwd& op, DType storage);

}  // namespace strait::kernels::test
