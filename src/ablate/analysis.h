#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ablate/collect.h"
#include "ablate/statistics.h"

namespace strait::ablate {

/// A comparison with what it would take to resolve it.
struct Verdict {
  Comparison comparison;
  std::vector<std::int64_t> seeds;  // of its differences
  double smallest = 0;              // difference that these seeds resolve with probability kPower
  std::optional<int> seeds_needed;  // in all
  std::optional<double> tokens_needed;  // of each cell, with these seeds
  double smallest_pooled = 0;
  std::optional<int> seeds_needed_pooled;
};

/// What the finished cells of one budget say. Four families of comparisons, each corrected for
/// itself: every variant against the baseline; neighbours in the order that was measured (chosen
/// after the fact, so their correction is the more cautious); the expected order; the others
/// against the one that this order puts first, which tells how much of its gap controls leave.
struct BudgetAnalysis {
  std::string budget;
  Cells losses;  // validation, nats
  TwoWayFit fit;
  double unpaired_noise = 0;  // standard deviation over seeds within a variant; NaN: no repeats
  std::vector<std::size_t> order;  // best first
  std::vector<Verdict> against_baseline, neighbours, claimed;
  std::vector<Verdict> against_first;  // without the baseline; empty when no order was expected
  std::vector<Claim> claims;           // beside `claimed`
};

std::vector<BudgetAnalysis> analyse(const Collected& sweep);

/// How each gap to the baseline moves from the first budget to the last: mean over the seeds that
/// have all four cells of gap there minus gap here, one family. Empty with a single budget.
std::vector<Comparison> moves(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses);

/// Every statement in an order of groups: equality within a group, less between one and the next.
std::vector<Claim> claims_of(const std::vector<std::vector<std::size_t>>& order);

/// One sentence for the reader: who is lower, by how much, interval, resolved or what would do it.
std::string sentence(const Verdict& verdict, const Collected& sweep);

}  // namespace strait::ablate
