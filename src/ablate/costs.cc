#include "ablate/costs.h"

#include <algorithm>

namespace strait::ablate {

void Costs::add(const Cell& cell, const CellResult& result) {
  if (!result.done || result.wall_s <= 0 || cell.train_flops <= 0) return;
  double& slowest = per_flop_[cell.variant];
  slowest = std::max(slowest, result.wall_s / cell.train_flops);
}

double Costs::seconds(const Cell& cell) const {
  const auto own = per_flop_.find(cell.variant);
  if (own != per_flop_.end()) return cell.train_flops * own->second;
  double slowest = 0;
  for (const auto& [variant, per_flop] : per_flop_) slowest = std::max(slowest, per_flop);
  return cell.train_flops * (slowest > 0 ? slowest : 1 / assumed_);
}

double makespan(const std::vector<double>& seconds, std::size_t slots) {
  std::vector<double> busy_until(std::max<std::size_t>(slots, 1), 0);
  for (const double length : seconds) *std::ranges::min_element(busy_until) += length;
  return *std::ranges::max_element(busy_until);
}

}  // namespace strait::ablate
