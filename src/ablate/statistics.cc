#include "ablate/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "ablate/student_t.h"

namespace strait::ablate {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

Judgement judge(double mean, const Design& design) {
  if (design.dof < 1 || design.seeds < 1) {
    return {.sd = kNone, .low = kNone, .high = kNone, .p = kNone, .p_holm = kNone};
  }
  const double error = design.sd / std::sqrt(design.seeds);
  const double half = student_t_quantile(1 - kFalseAlarm / 2, design.dof) * error;
  // The same difference on every seed leaves no noise to judge it by: then any is one.
  const double t = error > 0 ? mean / error : (mean == 0 ? 0 : std::numeric_limits<double>::max());
  return {.dof = design.dof,
          .sd = design.sd,
          .low = mean - half,
          .high = mean + half,
          .p = two_sided_p(t, design.dof)};
}

double standard_deviation(const std::vector<double>& values, double mean) {
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return values.size() < 2 ? kNone : std::sqrt(squares / (static_cast<double>(values.size()) - 1));
}

/// Holm (1979): the k-th smallest of m values times m - k, never below the one before it.
void correct(std::vector<Comparison>& family, Judgement Comparison::*judgement) {
  std::vector<Judgement*> judged;
  for (Comparison& comparison : family) {
    if ((comparison.*judgement).dof > 0) judged.push_back(&(comparison.*judgement));
  }
  std::stable_sort(judged.begin(), judged.end(),
                   [](const Judgement* a, const Judgement* b) { return a->p < b->p; });
  double least = 0;
  for (std::size_t k = 0; k < judged.size(); ++k) {
    least = std::max(least, std::min(1.0, judged[k]->p * static_cast<double>(judged.size() - k)));
    judged[k]->p_holm = least;
    judged[k]->resolved = least <= kFalseAlarm;
  }
}

}  // namespace

std::string outcome(const Claim& claim, double mean, const Judgement& judgement) {
  if (!judgement.resolved) return "open";
  if (claim.equal) return "contradicted";
  return mean < 0 ? "supported" : "contradicted";
}

std::vector<Comparison> compare(const Cells& losses,
                                const std::vector<std::pair<std::size_t, std::size_t>>& pairs) {
  const TwoWayFit fit = fit_two_way(losses);
  const int variants = static_cast<int>(
      std::count_if(fit.variant.begin(), fit.variant.end(), [](double v) { return v == v; }));
  const double level = kFalseAlarm / std::max<double>(1, static_cast<double>(pairs.size()));
  std::vector<Comparison> family;
  for (const auto& [a, b] : pairs) {
    Comparison c{.a = a,
                 .b = b,
                 .differences = {},
                 .mean = kNone,
                 .paired = {},
                 .pooled = {},
                 .paired_design = {},
                 .pooled_design = {}};
    for (std::size_t s = 0; s < losses[a].size(); ++s) {
      const double difference = losses[a][s] - losses[b][s];
      if (!std::isnan(difference)) c.differences.push_back(difference);
    }
    const int seeds = static_cast<int>(c.differences.size());
    if (seeds > 0) {
      c.mean = std::accumulate(c.differences.begin(), c.differences.end(), 0.0) / seeds;
    }
    c.paired_design = {.sd = standard_deviation(c.differences, c.mean),
                       .seeds = seeds,
                       .dof = std::max(0, seeds - 1),
                       .dof_per_seed = 1,
                       .level = level};
    c.pooled_design = {.sd = std::sqrt(2.0) * fit.noise,
                       .seeds = seeds,
                       .dof = fit.dof,
                       .dof_per_seed = variants - 1,
                       .level = level};
    c.paired = judge(c.mean, c.paired_design);
    c.pooled = judge(c.mean, c.pooled_design);
    family.push_back(std::move(c));
  }
  correct(family, &Comparison::paired);
  correct(family, &Comparison::pooled);
  return family;
}

std::vector<std::size_t> order_of(const TwoWayFit& fit) {
  std::vector<std::size_t> order;
  for (std::size_t v = 0; v < fit.variant.size(); ++v) {
    if (!std::isnan(fit.variant[v])) order.push_back(v);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return fit.variant[a] < fit.variant[b]; });
  return order;
}

}  // namespace strait::ablate
