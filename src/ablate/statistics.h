#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ablate/power.h"
#include "ablate/two_way.h"

// Is a difference between two variants more than the noise of seeds? Differences are paired: cells
// of one seed share initial weights, data order and schedule, so what a seed adds cancels.
namespace strait::ablate {

/// Probability that one family of comparisons calls any difference resolved that is none.
inline constexpr double kFalseAlarm = 0.05;

/// What `dof` degrees of freedom say about one mean difference.
struct Judgement {
  int dof = 0;     // 0: nothing can be said, the numbers below are NaN
  double sd = 0;   // standard deviation of one seed's difference
  double low = 0;  // 95 % confidence interval of the mean, for this comparison alone
  double high = 0;
  double p = 1;           // two-sided, for this comparison alone
  double p_holm = 1;      // Holm's correction over the family
  bool resolved = false;  // p_holm <= kFalseAlarm
};

/// loss of variant a minus loss of variant b: below 0, a is better.
struct Comparison {
  std::size_t a = 0, b = 0;
  std::vector<double> differences;  // of every seed that both have, in the order of seeds
  double mean = 0;                  // NaN when they share no seed
  Judgement paired;  // by the scatter of these differences alone: assumes only that it is normal
  Judgement pooled;  // by the noise of all variants: assumes that they share one, gains dof
  Design paired_design, pooled_design;  // for estimates of what more seeds would do
};

/// One statement about an order that was written down before the runs.
struct Claim {
  std::size_t a = 0, b = 0;
  bool equal = false;  // true: a = b; false: a has the lower loss
};

/// "supported", "contradicted" or "open" for a claim, by what was found of a - b. Equality
/// is never supported, only contradicted or open.
std::string outcome(const Claim& claim, double mean, const Judgement& judgement);

/// Compares the pairs named, as one family for Holm's correction.
std::vector<Comparison> compare(const Cells& losses,
                                const std::vector<std::pair<std::size_t, std::size_t>>& pairs);

/// Variants from the lowest loss up, by TwoWayFit::variant; those without a cell are left out.
std::vector<std::size_t> order_of(const TwoWayFit& fit);

}  // namespace strait::ablate
