#include "input/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strait::input {
namespace {

/// Draws in a cycle: at least one each, the rest by largest remainder.
std::vector<std::int64_t> draws_per_cycle(const std::vector<double>& shares) {
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<std::int64_t> counts;
  std::vector<double> wanted;
  for (const double share : shares) {
    wanted.push_back(share / total * static_cast<double>(Mixture::kCycle));
    counts.push_back(std::max<std::int64_t>(1, std::llround(std::floor(wanted.back()))));
  }
  const auto lag = [&](std::size_t i) { return wanted[i] - static_cast<double>(counts[i]); };
  std::vector<std::size_t> all(shares.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  std::int64_t sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  for (; sum < Mixture::kCycle; ++sum) ++counts[*std::ranges::max_element(all, {}, lag)];
  for (; sum > Mixture::kCycle; --sum) --counts[*std::ranges::min_element(all, {}, lag)];
  return counts;
}

}  // namespace

Mixture::Mixture(const std::vector<double>& shares) : per_cycle_(draws_per_cycle(shares)) {
  if (shares.size() == 1) return;
  std::vector<std::int64_t> drawn(shares.size(), 0);
  for (std::int64_t n = 1; n <= kCycle; ++n) {
    std::size_t most = 0;
    std::int64_t largest = -kCycle * kCycle;
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      const std::int64_t lag = per_cycle_[i] * n - drawn[i] * kCycle;
      if (lag > largest) largest = lag, most = i;
    }
    order_.push_back(static_cast<std::uint16_t>(most));
    before_.push_back(static_cast<std::uint32_t>(drawn[most]++));
  }
}

Mixture::Draw Mixture::at(std::int64_t sample) const {
  if (order_.empty()) return {.dataset = 0, .index = sample};
  const auto place = static_cast<std::size_t>(sample % kCycle);
  const std::int64_t dataset = order_[place];
  return {.dataset = dataset, .index = sample / kCycle * per_cycle_[dataset] + before_[place]};
}

std::int64_t Mixture::count(std::int64_t dataset, std::int64_t samples) const {
  if (order_.empty()) return samples;
  const auto part = order_.begin() + samples % kCycle;
  return samples / kCycle * per_cycle_[dataset] +
         std::count(order_.begin(), part, static_cast<std::uint16_t>(dataset));
}

}  // namespace strait::input
