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

/// The channel that rotates with channel c < 2 * pairs.
__device__ inline int rope_partner(int c, int pairs, bool interleaved) {
  if (interleaved) return c ^ 1;
  return c < pairs ? c + pairs : c - pairs;
}

/// Which angle turns channel c < 2 * pairs.
__device__ inline int rope_pair(int c, int pairs, bool interleaved) {
  if (interleaved) return c / 2;
  return c < pairs ? c : c - pairs;
}

/// Channel c of the rotated head, given its own value and its partner's. `sign` is 1, or -1 for
/// the inverse (the gradient).
__device__ inline float rope_turn(int c, int pairs, bool interleaved, float own, float partner,
                                  float2 angle, float sign) {
  const bool first = interleaved ? c % 2 == 0 : c < pairs;
  const float sine = first ? -sign * angle.y : sign * angle.y;
  return fmaf(partner, sine, own * angle.x);
}

}  // namespace strait::kernels::cuda
