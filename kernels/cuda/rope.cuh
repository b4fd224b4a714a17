#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "kernels/qk_norm_rope.h"

// Rotary embedding, shared by every op that rotates. Angles are worked out in double and reduced
// to half turns there, so that sine and cosine are good to float precision at any position.
namespace strait::kernels::cuda {

/// Frequencies of one Rope in half turns (theta^(-2 i / dims) / pi), passed to kernels by value.
struct RopeTable {
  static constexpr int kMaxPairs = 128;
  double half_turns[kMaxPairs];
  int pairs;
  bool interleaved;
};

inline std::string unsupported_rope(const Rope& rope) {
  if (rope.dims <= 2 * RopeTable::kMaxPairs) return {};
  return "rope.dims: the CUDA backend rotates at most " + std::to_string(2 * RopeTable::kMaxPairs) +
         " channels of a head, got " + std::to_string(rope.dims) + "; lower the rotary fraction";
}

inline RopeTable make_rope_table(const Rope& rope) {
  RopeTable table = {};
  table.pairs = static_cast<int>(rope.dims / 2);
  table.interleaved = rope.interleaved;
  for (int i = 0; i < table.pairs; ++i) {
    const double exponent = -2.0 * i / static_cast<double>(rope.dims);
    table.half_turns[i] = std::pow(rope.theta, exponent) / M_PI;
  }
  return table;
}

/// (cos, sin) of position * frequency, given the frequency in half turns.
__device__ inline float2 rope_angle(std::int32_t position, double half_turns) {
  const double turns = static_cast<double>(position) * half_turns;
  const double reduced = turns - 2.0 * rint(0.5 * turns);  // in [-1, 1]
  const float high = static_cast<float>(reduced);
  const float low = static_cast<float>((reduced - static_cast<double>(high)) * M_PI);
  float sine, cosine;
  sincospif(high, &sine, &cosine);
  return make_float2(fmaf(-low, sine, cosine), fmaf(low, cosine, sine));
}

}  // namespace strait::kernels::cuda
