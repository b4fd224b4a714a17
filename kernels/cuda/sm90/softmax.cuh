#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/sm90/barrier.cuh"

// Online softmax (arXiv 2205.14135, algorithm 1) of scores held as the sums of a product: a thread
// has the columns 8 j + 2 (lane % 4) + {0, 1} of two rows, its quad has whole rows.
namespace strait::kernels::cuda::sm90 {

inline constexpr float kLog2E = 1.4426950408889634f;

/// 2^x, exact to about 2 ulp; 0 for -inf.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

/// Two fp32 as one register of bf16, `low` first in memory.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

/// Products of two pairs of bf16.
__device__ __forceinline__ std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;\n" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

/// Sums of a product as the first operand, in registers, of the next one.
template <int kCount>
__device__ __forceinline__ void pack(std::uint32_t (&a)[kCount / 8][4], const float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount / 2; ++i) a[i / 4][i % 4] = pack_bf16(d[2 * i], d[2 * i + 1]);
}

/// Maximum and sum of the two rows of a thread. The maximum is of unscaled scores; sums are of this
/// thread's columns until finish().
class Softmax {
 public:
  /// `scale_log2` > 0: scores are multiplied by it and raised to the power of 2.
  __device__ explicit Softmax(float scale_log2) : scale_(scale_log2) {}

  /// Turns scores into weights relative to the running maximum; `keep` receives what earlier
  /// weights must be multiplied by.
  template <int kCount>
  __device__ __forceinline__ void absorb(float (&s)[kCount], float (&keep)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float most = s[2 * half];
#pragma unroll
      for (int i = 0; i < kCount / 4; ++i) {
        most = fmaxf(most, fmaxf(s[4 * i + 2 * half], s[4 * i + 2 * half + 1]));
      }
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 1));
      most = fmaxf(most, __shfl_xor_sync(kFullWarp, most, 2));
      most = fmaxf(most, max_[half]);
      // Earlier weights are relative to the product as it was rounded then.
      const float base = most == -INFINITY ? 0.0f : __fmul_rn(most, scale_);
      keep[half] = exp2_fast(__fmul_rn(max_[half], scale_) - base);
      max_[half] = most;
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kCount / 4; ++i) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = s[4 * i + 2 * half + e];
          x = exp2_fast(fmaf(x, scale_, -base));
          sum += x;
        }
      }
      sum_[half] = fmaf(sum_[half], keep[half], sum);
    }
  }

  /// Maxima and sums of both rows as they stand.
  __device__ __forceinline__ float4 state() const {
    return {max_[0], max_[1], sum_[0], sum_[1]};
  }

  /// Takes over the maxima of a state of the same rows and other keys; all of them before add().
  __device__ __forceinline__ void raise(const float4& state) {
    max_[0] = fmaxf(max_[0], state.x);
    max_[1] = fmaxf(max_[1], state.y);
  }

  /// Adds the sums of such a state; `factor` receives what its weights must be multiplied by.
  __device__ __forceinline__ void add(const float4& state, float (&factor)[2]) {
    const float most[2] = {state.x, state.y}, sum[2] = {state.z, state.w};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float base = max_[half] == -INFINITY ? 0.0f : __fmul_rn(max_[half], scale_);
      factor[half] = exp2_fast(__fmul_rn(most[half], scale_) - base);
      sum_[half] = fmaf(sum[half], factor[half], sum_[half]);
    }
  }

  /// Adds up the rows' sums; `inverse` and `lse` (natural) of both rows, 0 and -inf of empty rows.
  /// `unit`: nats in a unit of the scaled scores, the sum of both.
  __device__ __forceinline__ void finish(float2 unit, float (&inverse)[2], float (&lse)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = sum_[half];
      sum += __shfl_xor_sync(kFullWarp, sum, 1);
      sum += __shfl_xor_sync(kFullWarp, sum, 2);
      const bool empty = sum == 0.0f;
      inverse[half] = empty ? 0.0f : 1.0f / sum;
      const float most = __fmul_rn(max_[half], scale_);
      lse[half] = empty ? -INFINITY : fmaf(most, unit.x, fmaf(most, unit.y, logf(sum)));
    }
  }

 private:
  float scale_;
  float max_[2] = {-INFINITY, -INFINITY};
  float sum_[2] = {0, 0};
};

/// Multiplies both rows of `d`.
template <int kCount>
__device__ __forceinline__ void scale_rows(float (&d)[kCount], const float (&factor)[2]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) d[i] *= factor[i / 2 % 2];
}

/// Scores of keys outside of the rows' intervals become -inf; `first` is the key of column 0.
template <int kCount>
__device__ __forceinline__ void mask_rows(float (&s)[kCount], const int2 (&interval)[2],
                                          int first) {
  const int column = first + 2 * (static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int key = column + i / 4 * 8 + i % 2, half = i / 2 % 2;
    if (key < interval[half].x || key >= interval[half].y) s[i] = -INFINITY;
  }
}

}  // namespace strait::kernels::cuda::sm90
