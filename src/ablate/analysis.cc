#include "ablate/analysis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>

namespace strait::ablate {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
using Pairs = std::vector<std::pair<std::size_t, std::size_t>>;

const Outcome* find_cell(const Collected& sweep, std::size_t variant, const std::string& budget,
                         std::int64_t seed) {
  const auto at = std::ranges::find_if(sweep.cells, [&](const Outcome& cell) {
    return cell.variant == sweep.variants[variant] && cell.budget == budget && cell.seed == seed;
  });
  return at == sweep.cells.end() ? nullptr : &*at;
}

Cells losses_of(const Collected& sweep, const std::string& budget) {
  Cells losses;
  for (std::size_t v = 0; v < sweep.variants.size(); ++v) {
    losses.emplace_back();
    for (const std::int64_t seed : sweep.seeds) {
      const Outcome* cell = find_cell(sweep, v, budget, seed);
      const bool done = cell && cell->status == "done";
      losses.back().push_back(done ? cell->file.find("val_loss")->number() : kNone);
    }
  }
  return losses;
}

/// Mean over the seeds that both have of the difference at every evaluation at equal tokens.
void mean_curve(const Collected& sweep, const std::string& budget, const Verdict& verdict,
                std::vector<double>& tokens, std::vector<double>& means) {
  std::map<double, std::pair<double, std::size_t>> sums;
  for (const std::int64_t seed : verdict.seeds) {
    const Outcome* a = find_cell(sweep, verdict.comparison.a, budget, seed);
    const Outcome* b = find_cell(sweep, verdict.comparison.b, budget, seed);
    const std::map<double, double> of_b(b->curve.begin(), b->curve.end());
    for (const auto& [at, loss] : a->curve) {
      const auto other = of_b.find(at);
      if (other == of_b.end()) continue;
      sums[at].first += loss - other->second;
      ++sums[at].second;
    }
  }
  for (const auto& [at, sum] : sums) {
    if (sum.second != verdict.seeds.size()) continue;
    tokens.push_back(at);
    means.push_back(sum.first / static_cast<double>(sum.second));
  }
}

std::vector<Verdict> verdicts(const Collected& sweep, const BudgetAnalysis& analysis,
                              const Pairs& pairs) {
  std::vector<Verdict> family;
  for (Comparison& comparison : compare(analysis.losses, pairs)) {
    Verdict v{.comparison = std::move(comparison),
              .seeds = {},
              .seeds_needed = {},
              .tokens_needed = {},
              .seeds_needed_pooled = {}};
    const Comparison& c = v.comparison;
    for (std::size_t s = 0; s < sweep.seeds.size(); ++s) {
      const double difference = analysis.losses[c.a][s] - analysis.losses[c.b][s];
      if (!std::isnan(difference)) v.seeds.push_back(sweep.seeds[s]);
    }
    v.smallest = smallest_resolved(c.paired_design);
    v.smallest_pooled = smallest_resolved(c.pooled_design);
    v.seeds_needed = seeds_needed(c.paired_design, c.mean);
    v.seeds_needed_pooled = seeds_needed(c.pooled_design, c.mean);
    std::vector<double> tokens, means;
    mean_curve(sweep, analysis.budget, v, tokens, means);
    v.tokens_needed = tokens_needed(tokens, means, v.smallest);
    family.push_back(std::move(v));
  }
  return family;
}

double unpaired_noise(const Cells& losses) {
  double squares = 0, dof = 0;
  for (const auto& row : losses) {
    double sum = 0, count = 0;
    for (const double loss : row) {
      if (std::isnan(loss)) continue;
      sum += loss;
      count += 1;
    }
    if (count == 0) continue;
    for (const double loss : row) {
      if (!std::isnan(loss)) squares += (loss - sum / count) * (loss - sum / count);
    }
    dof += count - 1;
  }
  return dof > 0 ? std::sqrt(squares / dof) : kNone;
}

std::string printed(const char* format, auto... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string probability(double p) {
  return p < 1e-4 ? "p < 0.0001" : printed("p = %.2g", p);
}

std::string tokens_text(double tokens) {
  return tokens < 1e9 ? printed("%.3g million", tokens / 1e6)
                      : printed("%.3g billion", tokens / 1e9);
}

std::string what_would_do(const Verdict& v) {
  std::string text;
  if (v.comparison.paired.dof == 0) return "; at least two seeds of both are needed";
  text += printed("; a difference of %.4f would have been", v.smallest);
  if (v.seeds_needed) {
    text += printed(", this one with about %d seeds", *v.seeds_needed);
  } else {
    text += printed(", this one not even with %d seeds", kMostSeeds);
  }
  if (v.tokens_needed) {
    text +=
        ", or with " + tokens_text(*v.tokens_needed) + " tokens a cell if it grows on as it does";
  }
  if (v.comparison.pooled.resolved) {
    text +=
        "; resolved if all variants share one noise, " + probability(v.comparison.pooled.p_holm);
  }
  return text;
}

/// Every variant but the baseline and `other`, against `other`.
Pairs pairs_with(const Collected& sweep, std::size_t other) {
  Pairs pairs;
  for (std::size_t v = 0; v < sweep.variants.size(); ++v) {
    if (v != sweep.baseline && v != other) pairs.emplace_back(v, other);
  }
  return pairs;
}

}  // namespace

std::vector<Claim> claims_of(const std::vector<std::vector<std::size_t>>& order) {
  std::vector<Claim> claims;
  for (std::size_t g = 0; g < order.size(); ++g) {
    for (std::size_t i = 0; i < order[g].size(); ++i) {
      if (i > 0) claims.push_back({.a = order[g][i - 1], .b = order[g][i], .equal = true});
      if (g + 1 == order.size()) continue;
      for (const std::size_t next : order[g + 1]) {
        claims.push_back({.a = order[g][i], .b = next, .equal = false});
      }
    }
  }
  return claims;
}

std::vector<BudgetAnalysis> analyse(const Collected& sweep) {
  std::vector<BudgetAnalysis> all;
  for (const std::string& budget : sweep.budgets) {
    BudgetAnalysis one{.budget = budget,
                       .losses = losses_of(sweep, budget),
                       .fit = {},
                       .order = {},
                       .against_baseline = {},
                       .neighbours = {},
                       .claimed = {},
                       .against_first = {},
                       .claims = claims_of(sweep.reference)};
    one.fit = fit_two_way(one.losses);
    one.unpaired_noise = unpaired_noise(one.losses);
    one.order = order_of(one.fit);
    Pairs neighbours, claimed;
    for (std::size_t i = 1; i < one.order.size(); ++i) {
      neighbours.emplace_back(one.order[i - 1], one.order[i]);
    }
    for (const Claim& claim : one.claims) claimed.emplace_back(claim.a, claim.b);
    one.against_baseline = verdicts(sweep, one, pairs_with(sweep, sweep.baseline));
    one.neighbours = verdicts(sweep, one, neighbours);
    one.claimed = verdicts(sweep, one, claimed);
    const bool expected = !sweep.reference.empty() && !sweep.reference[0].empty();
    if (expected && sweep.reference[0][0] != sweep.baseline) {
      one.against_first = verdicts(sweep, one, pairs_with(sweep, sweep.reference[0][0]));
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<Comparison> moves(const Collected& sweep, const std::vector<BudgetAnalysis>& analyses) {
  if (analyses.size() < 2) return {};
  Cells changes = analyses.back().losses;
  for (std::size_t v = 0; v < changes.size(); ++v) {
    for (std::size_t s = 0; s < changes[v].size(); ++s) {
      changes[v][s] -= analyses.front().losses[v][s];
    }
  }
  return compare(changes, pairs_with(sweep, sweep.baseline));
}

std::string sentence(const Verdict& verdict, const Collected& sweep) {
  const Comparison& c = verdict.comparison;
  const std::string &a = sweep.labels[c.a], &b = sweep.labels[c.b];
  if (verdict.seeds.empty()) return a + " and " + b + " share no finished seed.";
  std::string text = a + " is " + (c.mean <= 0 ? "lower" : "higher") + " than " + b +
                     printed(" by %.4f nats", std::abs(c.mean));
  if (c.paired.dof > 0) {
    const double low = c.mean <= 0 ? -c.paired.high : c.paired.low;
    const double high = c.mean <= 0 ? -c.paired.low : c.paired.high;
    text += printed(" [%.4f, %.4f]", low, high);
  }
  text += printed(" over %d seed", static_cast<int>(verdict.seeds.size()));
  text += verdict.seeds.size() == 1 ? ": " : "s: ";
  if (c.paired.resolved) return text + "resolved, " + probability(c.paired.p_holm) + ".";
  text += "not resolved";
  if (c.paired.dof > 0) text += ", " + probability(c.paired.p_holm);
  return text + what_would_do(verdict) + ".";
}

}  // namespace strait::ablate
