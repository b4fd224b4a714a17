#include "ablate/power.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ablate/student_t.h"

namespace strait::ablate {

double smallest_resolved(const Design& d) {
  if (d.dof < 1 || d.seeds < 1) return std::numeric_limits<double>::quiet_NaN();
  const double quantiles =
      student_t_quantile(1 - d.level / 2, d.dof) + student_t_quantile(kPower, d.dof);
  return quantiles * d.sd / std::sqrt(d.seeds);
}

std::optional<int> seeds_needed(const Design& design, double mean) {
  if (!(design.sd > 0) || !(std::abs(mean) > 0)) return std::nullopt;
  const auto enough = [&](int seeds) {
    Design grown = design;
    grown.dof += (seeds - design.seeds) * design.dof_per_seed;
    grown.seeds = seeds;
    return smallest_resolved(grown) <= std::abs(mean);
  };
  int low = std::max(design.seeds, 2), high = kMostSeeds;
  if (low > high || !enough(high)) return std::nullopt;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (enough(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

std::optional<double> tokens_needed(const std::vector<double>& tokens,
                                    const std::vector<double>& means, double target) {
  if (tokens.size() < 3 || !(target > 0)) return std::nullopt;
  const double last = std::log(tokens.back());
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (2 * tokens[i] < tokens.back()) continue;
    const double from_last = std::log(tokens[i]) - last;
    n += 1;
    x += from_last;
    y += means[i];
    xx += from_last * from_last;
    xy += from_last * means[i];
  }
  const double spread = n * xx - x * x;
  if (n < 3 || !(spread > 0)) return std::nullopt;
  const double slope = (n * xy - x * y) / spread;
  const double now = (y - slope * x) / n;
  if (!(slope * now > 0)) return std::nullopt;
  const double further = (target - std::abs(now)) / std::abs(slope);
  if (further > std::log(kMostTokens)) return std::nullopt;
  return tokens.back() * std::exp(std::max(0.0, further));
}

}  // namespace strait::ablate
