#pragma once

#include <vector>

namespace strait::ablate {

/// One number for every variant and seed, [variant][seed]; NaN where the cell is missing.
using Cells = std::vector<std::vector<double>>;

/// Least squares of cell = variant + seed + noise: a randomised block design with missing cells.
struct TwoWayFit {
  std::vector<double> variant;  // mean over all seeds as if none were missing; NaN without a cell
  std::vector<double> seed;     // what a seed adds to every variant, mean 0; NaN without a cell
  double noise = 0;             // standard deviation of one cell after both; NaN when dof is 0
  int dof = 0;                  // cells - variants - seeds + groups that share no seed
};

TwoWayFit fit_two_way(const Cells& cells);

}  // namespace strait::ablate
