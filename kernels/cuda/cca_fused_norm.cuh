#pragma once

#include "kernels/cuda/cca_slots.cuh"

// Norm and rotation of rows as the fused path keeps them (cca_fused.cuh), there and back.
namespace strait::kernels::cuda::cca {

/// Frequencies of the pairs of channels (8 s + 2 t + {0, 1}) in turns, as sums of two floats.
struct PairFrequencies {
  float4 of[kStrips / 2][4];  // high, high, low, low

  /// Threads 0 .. 63 of some, others do nothing.
  __device__ void fill(const RopeTable& table, int c) {
    if (c < 0 || c >= table.pairs) return;
    const double f = 0.5 * table.half_turns[c];
    const auto high = static_cast<float>(f);
    float* to = reinterpret_cast<float*>(&of[c / 8][c % 8 / 2]) + c % 2;
    to[0] = high;
    to[2] = static_cast<float>(f - static_cast<double>(high));
  }
};

/// (cos, sin) of position times frequency, good to about 1e-6: the product's error is kept, whole
/// turns are taken off exactly. For positions below 2^24.
__device__ __forceinline__ float2 fast_angle(float position, float high, float low) {
  constexpr float kRound = 12582912.0f;  // adding it leaves no place for fractions
  const float turns = position * high;
  const float error = fmaf(position, high, -turns);
  const float whole = __fsub_rn(__fadd_rn(turns, kRound), kRound);
  const float x = ((turns - whole) + fmaf(position, low, error)) * 6.28318531f;
  return make_float2(__cosf(x), __sinf(x));
}

/// sqrt(d) / |y| of one of a thread's rows.
__device__ __forceinline__ float row_factor(const float (&y)[kHead / 2], int half) {
  float square = 0;
#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
    const float a = y[4 * s + 2 * half], b = y[4 * s + 2 * half + 1];
    square = fmaf(a, a, fmaf(b, b, square));
  }
  return 11.3137085f * rsqrtf(group_reduce(square, 4) + kNormEps);
}

/// Norm and temperature, then the rotation of channels c and c + 8 kPairStrips.
template <int kPairStrips>
__device__ __forceinline__ void turn_rows(const float (&position)[2], float tau,
                                          const PairFrequencies& frequencies,
                                          float (&y)[kHead / 2]) {
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) factor[half] = row_factor(y, half) * tau;
#pragma unroll
  for (int s = 0; s < kPairStrips; ++s) {
    const float4 f = frequencies.of[s][lane_id() % 4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float2 angle = fast_angle(position[half], e ? f.y : f.x, e ? f.w : f.z);
        const float cosine = factor[half] * angle.x, sine = factor[half] * angle.y;
        float &a = y[4 * s + 2 * half + e], &b = y[4 * (s + kPairStrips) + 2 * half + e];
        const float turned = fmaf(-sine, b, cosine * a);
        b = fmaf(sine, a, cosine * b);
        a = turned;
      }
    }
  }
#pragma unroll
  for (int s = 2 * kPairStrips; s < kStrips; ++s) {
#pragma unroll
    for (int i = 0; i < 4; ++i) y[4 * s + i] *= factor[i / 2];
  }
}

/// Gradients of a thread's rows in a slot, laid out as its sums: strips s and s + 1 in four words.
struct SlotRows {
  std::uint32_t at;

  __device__ explicit SlotRows(const Slot& slot) : at(slot_row(slot, operand_row())) {}
  __device__ void load(int strip, std::uint32_t (&x)[4]) const {
    load_matrices_at(x, slot_step(at, strip / 2));
  }
};

/// The first or second of two bf16.
__device__ __forceinline__ float half_of(std::uint32_t pair, int e) {
  return __uint_as_float(e ? pair & 0xffff0000u : pair << 16);
}

/// turned = the gradient of the rows before their rotation, laid out as y.
template <int kPairStrips>
__device__ __forceinline__ void turn_back(const float (&position)[2],
                                          const PairFrequencies& frequencies, const SlotRows& dout,
                                          float (&turned)[kHead / 2]) {
#pragma unroll
  for (int s = 0; s < kPairStrips; s += 2) {
    std::uint32_t first[4], second[4];
    dout.load(s, first);
    dout.load(s + kPairStrips, second);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int strip = s + i / 4, half = i / 2 % 2, e = i % 2, word = i / 4 * 2 + half;
      const float4 f = frequencies.of[strip][lane_id() % 4];
      const float2 angle = fast_angle(position[half], e ? f.y : f.x, e ? f.w : f.z);
      const float a = half_of(first[word], e), b = half_of(second[word], e);
      turned[4 * strip + i % 4] = fmaf(angle.y, b, angle.x * a);
      turned[4 * (strip + kPairStrips) + i % 4] = fmaf(-angle.y, a, angle.x * b);
    }
  }
#pragma unroll
  for (int s = 2 * kPairStrips; s < kStrips; s += 2) {
    std::uint32_t x[4];
    dout.load(s, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) turned[4 * s + i] = half_of(x[i / 4 * 2 + i / 2 % 2], i % 2);
  }
}

/// Puts the gradient of the rows' y in its place, given that before the rotation; 0 in rows that
/// are not `inside`. Returns the gradient of tau.
__device__ __forceinline__ float undo_norm(const float (&turned)[kHead / 2], float tau,
                                           const bool (&inside)[2], float (&y)[kHead / 2]) {
  float along[2] = {}, dtau = 0;
#pragma unroll
  for (int i = 0; i < kHead / 2; ++i) along[i / 2 % 2] = fmaf(turned[i], y[i], along[i / 2 % 2]);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    // factor = sqrt(d) / n, so d factor / dy = -factor y / n^2 with 1 / n^2 = factor^2 / d.
    const float factor = row_factor(y, half), sum = group_reduce(along[half], 4);
    const float scale = inside[half] ? tau * factor : 0.0f;
    const float back = scale * sum * factor * factor * (1.0f / kHead);
#pragma unroll
    for (int s = 0; s < kStrips; ++s) {
#pragma unroll
      for (int i = 4 * s + 2 * half; i < 4 * s + 2 * half + 2; ++i) {
        y[i] = fmaf(scale, turned[i], -back * y[i]);
      }
    }
    dtau += inside[half] ? factor * sum : 0.0f;
  }
  return dtau;
}

}  // namespace strait::kernels::cuda::cca
