#pragma once

#include "kernels/cuda/cca_fused.cuh"

// Norm and rotation of rows as the fused path keeps them (cca_fused.cuh), there and back.
namespace strait::kernels::cuda::cca {

/// Frequencies of the pairs of channels (8 s + 2 t + {0, 1}) in turns, as sums of two floats.
struct PairFrequencies {
  float4 of[kStrips / 2][4];  // high, high, low, low

  __device__ void fill(const RopeTable& table, int c) {
    if (c >= table.pairs) return;
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

/// Adds the bias of u.
__device__ __forceinline__ void add_bias(const float* bias, float (&y)[kHead / 2]) {
#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
    const float2 b = *reinterpret_cast<const float2*>(bias + 8 * s + 2 * (lane_id() % 4));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      y[4 * s + 2 * half] += b.x;
      y[4 * s + 2 * half + 1] += b.y;
    }
  }
}

/// Norm and temperature, then the rotation of channels c and c + 8 kPairStrips.
template <int kPairStrips>
__device__ __forceinline__ void turn_rows(const TileFacts& facts, float tau,
                                          const PairFrequencies& frequencies,
                                          float (&y)[kHead / 2]) {
  const int row = thread_row();
  float factor[2], position[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    factor[half] = row_factor(y, half) * tau;
    position[half] = facts.position_of[row + 8 * half];
  }
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

/// Puts the gradient of a row's y in its place, given that of its output in the staged tile; 0 when
/// not `inside`. Returns the gradient of tau.
template <int kPairStrips>
__device__ __forceinline__ float undo_row(const TileFacts& facts, float tau, bool inside,
                                          const PairFrequencies& frequencies, Tile<kHead> dout,
                                          int half, float (&y)[kHead / 2]) {
  const int row = thread_row() + 8 * half, c = 2 * (lane_id() % 4);
  const float factor = row_factor(y, half), position = facts.position_of[row];
  float turned[2 * kStrips], along = 0;
#pragma unroll
  for (int s = 0; s < kPairStrips; ++s) {
    const float4 f = frequencies.of[s][lane_id() % 4];
    const auto first = Packet<bf16, 2>::load(dout.at(row, s) + c);
    const auto second = Packet<bf16, 2>::load(dout.at(row, s + kPairStrips) + c);
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float2 angle = fast_angle(position, e ? f.y : f.x, e ? f.w : f.z);
      const float a = first.get(e), b = second.get(e);
      turned[2 * s + e] = fmaf(angle.y, b, angle.x * a);
      turned[2 * (s + kPairStrips) + e] = fmaf(-angle.y, a, angle.x * b);
    }
  }
#pragma unroll
  for (int s = 2 * kPairStrips; s < kStrips; ++s) {
    const auto x = Packet<bf16, 2>::load(dout.at(row, s) + c);
#pragma unroll
    for (int e = 0; e < 2; ++e) turned[2 * s + e] = x.get(e);
  }
#pragma unroll
  for (int i = 0; i < 2 * kStrips; ++i) {
    along = fmaf(turned[i], y[i / 2 * 4 + 2 * half + i % 2], along);
  }
  along = group_reduce(along, 4);
  // factor = sqrt(d) / n, so d factor / dy = -factor y / n^2 with 1 / n^2 = factor^2 / d.
  const float scale = inside ? tau * factor : 0.0f;
  const float back = scale * along * factor * factor * (1.0f / kHead);
#pragma unroll
  for (int i = 0; i < 2 * kStrips; ++i) {
    float& to = y[i / 2 * 4 + 2 * half + i % 2];
    to = fmaf(scale, turned[i], -back * to);
  }
  return inside ? factor * along : 0.0f;
}

}  // namespace strait::kernels::cuda::cca
