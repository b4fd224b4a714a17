#include "ablate/costs.h"

#include <algorithm>

namespace strait::ablate {

void Costs::add(const Cell& cell, const CellResult& result) {
  if (!result.done || result.wall_s <= 0 || cell.train_flops <= 0) return;
  Measured& known = variants_[cell.variant];
  const double per_flop = result.wall_s / cell.train_flops;
  if (cell.train_flops >= 2 * known.flops) {
    known = {.flops = cell.train_flops, .per_flop = per_flop};
  } else if (2 * cell.train_flops > known.flops) {
    known = {.flops = std::max(known.flops, cell.train_flops),
             .per_flop = std::max(known.per_flop, per_flop)};
  }
}

double Costs::seconds(const Cell& cell) const {
  const auto own = variants_.find(cell.variant);
  if (own != variants_.end()) return cell.train_flops * own->second.per_flop;
  double slowest = 0;
  for (const auto& [variant, known] : variants_) slowest = std::max(slowest, known.per_flop);
  return cell.train_flops * (slowest > 0 ? slowest : 1 / assumed_);
}

double makespan(const std::vector<double>& seconds, std::size_t slots) {
  std::vector<double> busy_until(std::max<std::size_t>(slots, 1), 0);
  for (const double length : seconds) *std::ranges::min_element(busy_until) += length;
  return *std::ranges::max_element(busy_until);
}

}  // namespace strait::ablate
