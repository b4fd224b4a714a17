#pragma once

#include <optional>
#include <vector>

// How much more it would take to resolve a difference. Estimates: they take the noise that was
// measured on few seeds for the true one.
namespace strait::ablate {

/// Probability that the seeds or tokens asked for resolve the difference.
inline constexpr double kPower = 0.8;
/// More are not asked for.
inline constexpr int kMostSeeds = 1000;
inline constexpr double kMostTokens = 100;  // times those trained

/// How a mean difference over seeds is judged: what compare() found, or what it would find.
struct Design {
  double sd = 0;         // standard deviation of one seed's difference
  int seeds = 0;         // that the mean is over
  int dof = 0;           // of the estimate of sd
  int dof_per_seed = 1;  // that one more seed adds
  double level = 0.05;   // two-sided, the strictest that Holm's correction may ask
};

/// The difference that this design resolves with probability kPower; NaN without dof. The usual sum
/// of two quantiles of Student's t in place of one of the noncentral t.
double smallest_resolved(const Design& design);

/// Seeds in all that resolve a difference of `mean` with probability kPower, at least design.seeds;
/// nothing above kMostSeeds, or when mean or sd is 0 or not known.
std::optional<int> seeds_needed(const Design& design, double mean);

/// Tokens at which the mean difference reaches `target` (its absolute value), if it goes on along
/// the straight line in log(tokens) of the second half of training, with the noise unchanged.
/// `tokens` ascending, `means` of the same evaluations. Nothing when the difference does not grow,
/// would need more than kMostTokens times the last tokens, or there are fewer than 3 evaluations.
std::optional<double> tokens_needed(const std::vector<double>& tokens,
                                    const std::vector<double>& means, double target);

}  // namespace strait::ablate
