#pragma once

#include <array>
#include <cstdint>
#include <string_view>

// Counter-based random numbers: the value at (seed, stream, index) depends on nothing else, so any
// layout of ranks draws the same numbers for the same global element.
namespace strait::core {

/// Philox4x32-10 (Salmon et al., SC 2011): four 32-bit words for a 64-bit key and 128-bit counter.
std::array<std::uint32_t, 4> philox(std::uint64_t key, std::uint64_t counter_low,
                                    std::uint64_t counter_high);

/// FNV-1a of a name, to key a stream by what it is for ("init/layers.0.attn.q.weight").
std::uint64_t stream_id(std::string_view name);

/// One stream of random numbers, addressed by index.
class Rng {
 public:
  Rng(std::uint64_t seed, std::string_view stream) : seed_(seed), stream_(stream_id(stream)) {}
  /// Uniform in (0, 1), 53 bits.
  double uniform(std::uint64_t index) const;
  /// Standard normal (Box-Muller on one counter).
  double normal(std::uint64_t index) const;

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
};

}  // namespace strait::core
