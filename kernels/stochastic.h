#pragma once

#include <bit>
#include <cstdint>

// Stochastic rounding of f32 to bf16, the same bits on every backend: up with the probability that
// keeps the mean, by random bits that depend on (seed, step, index) alone.
#ifdef __CUDACC__
#define STRAIT_BOTH_SIDES __host__ __device__
#else
#define STRAIT_BOTH_SIDES
#endif

namespace strait::kernels {

/// SplitMix64's finaliser (Steele et al., OOPSLA 2014): every input bit reaches every output bit.
STRAIT_BOTH_SIDES inline std::uint64_t mix_bits(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// Key of all draws of one step.
STRAIT_BOTH_SIDES inline std::uint64_t rounding_key(std::uint64_t seed, std::uint64_t step) {
  return mix_bits(seed + 0x9e3779b97f4a7c15ull * mix_bits(step + 1));
}

/// 64 random bits for element `index`; 16 of them round one number.
STRAIT_BOTH_SIDES inline std::uint64_t rounding_bits(std::uint64_t key, std::uint64_t index) {
  return mix_bits(key + 0x9e3779b97f4a7c15ull * index);
}

/// The bf16 below or above `x` (its upper 16 bits); infinities and NaN as they are.
STRAIT_BOTH_SIDES inline std::uint16_t round_stochastic(float x, std::uint16_t random) {
#ifdef __CUDA_ARCH__
  std::uint32_t bits = __float_as_uint(x);
#else
  auto bits = std::bit_cast<std::uint32_t>(x);
#endif
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  if (finite) bits += random;
  return static_cast<std::uint16_t>(bits >> 16);
}

}  // namespace strait::kernels
