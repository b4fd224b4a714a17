#pragma once

#include <climits>
#include <cmath>

#include "kernels/cuda/warp.cuh"

// One token's experts in one warp: expert i * 32 + lane is entry i of a lane's registers.
namespace strait::kernels::cuda::route {

inline constexpr int kThreads = 128, kWarps = kThreads / kWarp;
/// Keeps a sum of scores away from zero where every sigmoid underflows.
inline constexpr float kTinySum = 1e-20f;

/// Calls body(entry, expert) for the lane's experts, entries known at compile time.
template <int kPerLane, class Body>
__device__ __forceinline__ void for_each_expert(int experts, Body&& body) {
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int e = i * kWarp + lane_id();
    if (e < experts) body(i, e);
  }
}

/// A key whose order as an unsigned number is the order of the floats, above 0; equal for both
/// zeros, least for NaN.
__device__ __forceinline__ unsigned order_key(float x) {
  if (isnan(x)) return 1;
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// Index of the greatest key, ties to the lowest index; its key becomes 0. Keys of 0 are taken.
/// The same in every lane. Precondition: one key is not 0.
template <int kPerLane>
__device__ __forceinline__ int take_best(unsigned (&keys)[kPerLane]) {
  unsigned most = 0;
  int at = INT_MAX;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (keys[i] > most) {
      most = keys[i];
      at = i * kWarp + lane_id();
    }
  }
  const unsigned top = __reduce_max_sync(kAllLanes, most);
  const int best = __reduce_min_sync(kAllLanes, most == top ? at : INT_MAX);
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (best == i * kWarp + lane_id()) keys[i] = 0;
  }
  return best;
}

/// log sum exp of the warp's logits.
template <int kPerLane>
__device__ __forceinline__ double log_sum_exp(const float* logits, int experts) {
  float top = -INFINITY;
  for_each_expert<kPerLane>(experts, [&](int, int e) { top = fmaxf(top, logits[e]); });
  top = warp_reduce(top, Max{});
  float sum = 0;
  for_each_expert<kPerLane>(experts, [&](int, int e) { sum += expf(logits[e] - top); });
  return static_cast<double>(top) + log(static_cast<double>(warp_reduce(sum)));
}

/// Calls body(integral constant of registers per lane) for a number of experts.
template <class Body>
void with_experts(std::int64_t experts, Body&& body) {
  if (experts <= kWarp) return body(std::integral_constant<int, 1>{});
  if (experts <= 2 * kWarp) return body(std::integral_constant<int, 2>{});
  if (experts <= 8 * kWarp) return body(std::integral_constant<int, 8>{});
  body(std::integral_constant<int, 16>{});
}

inline constexpr std::int64_t kMaxExperts = 16 * kWarp;

}  // namespace strait::kernels::cuda::route
