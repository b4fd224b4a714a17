#include "ablate/two_way.h"

#include <cmath>
#include <limits>

namespace strait::ablate {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  int count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count ? sum / count : kMissing;
}

/// Cells without what `variant` and `seed` explain.
Cells residuals(const Cells& cells, const TwoWayFit& fit) {
  Cells left = cells;
  for (std::size_t v = 0; v < left.size(); ++v) {
    for (std::size_t s = 0; s < left[v].size(); ++s) left[v][s] -= fit.variant[v] + fit.seed[s];
  }
  return left;
}

std::vector<double> column(const Cells& cells, std::size_t s) {
  std::vector<double> values;
  for (const auto& row : cells) values.push_back(row[s]);
  return values;
}

/// Groups of variants that are connected through seeds they share.
int connected_groups(const Cells& cells) {
  std::vector<bool> reached(cells.size());
  const auto share = [&](std::size_t a, std::size_t b) {
    for (std::size_t s = 0; s < cells[a].size(); ++s) {
      if (!std::isnan(cells[a][s]) && !std::isnan(cells[b][s])) return true;
    }
    return false;
  };
  int groups = 0;
  for (std::size_t first = 0; first < cells.size(); ++first) {
    if (reached[first] || std::isnan(mean_of(cells[first]))) continue;
    ++groups;
    std::vector<std::size_t> open = {first};
    while (!open.empty()) {
      const std::size_t v = open.back();
      open.pop_back();
      reached[v] = true;
      for (std::size_t w = 0; w < cells.size(); ++w) {
        if (!reached[w] && share(v, w)) open.push_back(w);
      }
    }
  }
  return groups;
}

}  // namespace

TwoWayFit fit_two_way(const Cells& cells) {
  const std::size_t seeds = cells.empty() ? 0 : cells.front().size();
  TwoWayFit fit{.variant = {}, .seed = std::vector<double>(seeds, 0.0), .noise = kMissing};
  for (const auto& row : cells) fit.variant.push_back(mean_of(row));
  for (std::size_t s = 0; s < seeds; ++s) {
    if (std::isnan(mean_of(column(cells, s)))) fit.seed[s] = kMissing;
  }
  // Alternating means; exact after one round when no cell is missing.
  for (int round = 0; round < 10000; ++round) {
    double change = 0;
    const auto shift = [&](double& effect, const std::vector<double>& left) {
      const double by = mean_of(left);
      if (std::isnan(by)) return;
      effect += by;
      change = std::max(change, std::abs(by));
    };
    Cells left = residuals(cells, fit);
    for (std::size_t s = 0; s < seeds; ++s) shift(fit.seed[s], column(left, s));
    left = residuals(cells, fit);
    for (std::size_t v = 0; v < cells.size(); ++v) shift(fit.variant[v], left[v]);
    if (change < 1e-13) break;
  }
  const double centre = mean_of(fit.seed);
  for (double& effect : fit.seed) effect -= centre;
  for (double& effect : fit.variant) effect += centre;

  double squares = 0;
  fit.dof = connected_groups(cells);
  for (const auto& row : residuals(cells, fit)) {
    for (const double left : row) {
      if (std::isnan(left)) continue;
      squares += left * left;
      ++fit.dof;
    }
  }
  for (const double effect : fit.variant) fit.dof -= !std::isnan(effect);
  for (const double effect : fit.seed) fit.dof -= !std::isnan(effect);
  if (fit.dof > 0) fit.noise = std::sqrt(squares / fit.dof);
  return fit;
}

}  // namespace strait::ablate
