#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace strait::kernels::cpu {

/// e^x for loops under `#pragma omp simd`: branch-free, so the float version vectorises. Its error
/// over all floats is at most 1.02 ulp, and 0.75 of a step where the result is subnormal; inf above
/// 88.73, 0 below -103.98, NaN for NaN. Method: x = n ln 2 + r, the polynomial of Cephes' expf for
/// e^r, scaled by 2^n in two factors so that neither over- nor underflows early.
inline float fast_exp(float x) {
  constexpr float kLog2e = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f;  // few bits, so that n * kLn2High is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  const float shifted = x * kLog2e + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  // The low bits of `shifted` hold n. Unsigned arithmetic: a NaN's bits may wrap.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - 0x4b400000u;
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(exponent) >> 1);
  const float first = std::bit_cast<float>((half + 127u) << 23);
  const float second = std::bit_cast<float>((exponent - half + 127u) << 23);
  return p * first * second;
}

inline double fast_exp(double x) {
  return std::exp(x);
}

/// 1 / (1 + e^-x).
template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + fast_exp(-x));
}

}  // namespace strait::kernels::cpu
