#pragma once

#include <cstdint>
#include <vector>

namespace strait::input {

/// Which dataset each sample comes from: a cycle of 2^16 draws in which every dataset has its
/// share, rounded, and never lags by more than one draw or so. The same for every seed, and open at
/// any sample.
class Mixture {
 public:
  static constexpr std::int64_t kCycle = std::int64_t{1} << 16;

  /// `shares` of the samples, relative to each other. Preconditions: 1 .. 2^15 of them, all > 0.
  explicit Mixture(const std::vector<double>& shares);

  struct Draw {
    std::int64_t dataset = 0;
    std::int64_t index = 0;  // among the draws of the dataset, from 0
  };
  Draw at(std::int64_t sample) const;
  /// Draws of `dataset` among the first `samples`.
  std::int64_t count(std::int64_t dataset, std::int64_t samples) const;

 private:
  std::vector<std::int64_t> per_cycle_;  // draws of each dataset
  std::vector<std::uint16_t> order_;     // dataset of each draw of the cycle; empty: only one
  std::vector<std::uint32_t> before_;    // draws of the same dataset before it in the cycle
};

}  // namespace strait::input
