#include "kernels/routing.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Keeps a sum of scores away from zero where every sigmoid underflows.
constexpr double kTinySum = 1e-20;

template <class Real>
Real log_sum_exp(const Real* logits, std::int64_t experts) {
  const Real top = *std::max_element(logits, logits + experts);
  Real sum = 0;
  for (std::int64_t e = 0; e < experts; ++e) sum += std::exp(logits[e] - top);
  return top + std::log(sum);
}

template <class Real>
void score(RouterScore kind, const Real* logits, std::int64_t experts, Real* scores) {
  if (kind == RouterScore::sigmoid) {
    for (std::int64_t e = 0; e < experts; ++e) scores[e] = sigmoid(logits[e]);
    return;
  }
  const Real top = *std::max_element(logits, logits + experts);
  Real sum = 0;
  for (std::int64_t e = 0; e < experts; ++e) sum += scores[e] = std::exp(logits[e] - top);
  for (std::int64_t e = 0; e < experts; ++e) scores[e] /= sum;
}

/// Index of the best value that is not taken, ties to the lower index; a valid index even when the
/// values are NaN. Precondition: one is not taken.
template <class Real>
std::int64_t best_free(const Real* values, const std::vector<char>& taken) {
  std::int64_t best = std::find(taken.begin(), taken.end(), 0) - taken.begin();
  for (std::int64_t i = best + 1; i < static_cast<std::int64_t>(taken.size()); ++i) {
    if (!taken[i] && values[i] > values[best]) best = i;
  }
  return best;
}

template <class Real>
Real sum_of_best_two(const Real* values, std::int64_t n) {
  if (n == 1) return values[0];
  Real first = std::max(values[0], values[1]), second = std::min(values[0], values[1]);
  for (std::int64_t i = 2; i < n; ++i) {
    second = std::max(second, std::min(first, values[i]));
    first = std::max(first, values[i]);
  }
  return first + second;
}

/// Selects experts for one token after another; holds the scratch of one thread.
template <class Real>
class Selector {
 public:
  Selector(const RouterRule& rule, std::int64_t experts)
      : rule_(rule),
        choice_(experts),
        excluded_(experts),
        group_score_(rule.groups),
        kept_(rule.groups) {}

  /// Writes the `chosen` experts of a token in descending order of choice. `bias` may be null.
  void select(const Real* scores, const Real* bias, std::int64_t chosen, std::int32_t* expert) {
    const auto experts = static_cast<std::int64_t>(choice_.size());
    for (std::int64_t e = 0; e < experts; ++e) choice_[e] = scores[e] + (bias ? bias[e] : 0);
    std::fill(excluded_.begin(), excluded_.end(), 0);
    if (rule_.top_groups < rule_.groups) exclude_groups(experts / rule_.groups);
    for (std::int64_t k = 0; k < chosen; ++k) {
      const std::int64_t best = best_free(choice_.data(), excluded_);
      excluded_[best] = 1;
      expert[k] = static_cast<std::int32_t>(best);
    }
  }

 private:
  void exclude_groups(std::int64_t width) {
    for (std::int64_t g = 0; g < rule_.groups; ++g) {
      group_score_[g] = sum_of_best_two(choice_.data() + g * width, width);
    }
    std::fill(kept_.begin(), kept_.end(), 0);
    for (std::int64_t i = 0; i < rule_.top_groups; ++i) {
      kept_[best_free(group_score_.data(), kept_)] = 1;
    }
    for (std::int64_t g = 0; g < rule_.groups; ++g) {
      if (!kept_[g]) std::fill_n(excluded_.begin() + g * width, width, 1);
    }
  }

  RouterRule rule_;
  std::vector<Real> choice_;
  std::vector<char> excluded_;
  std::vector<Real> group_score_;
  std::vector<char> kept_;
};

void force(const RouteFwd& op, std::int64_t token, std::int64_t chosen, std::int32_t* expert) {
  const std::int64_t place =
      op.place.defined() ? op.place.as<std::int32_t>()[token] : token % op.length;
  for (std::int64_t k = 0; k < chosen; ++k) {
    expert[k] = static_cast<std::int32_t>((place * chosen + k) % op.rule.forced);
  }
}

template <class Real>
void weigh(const RouterRule& rule, const Real* scores, const std::int32_t* expert,
           std::int64_t chosen, Real* weight) {
  Real sum = 0;
  for (std::int64_t k = 0; k < chosen; ++k) sum += weight[k] = scores[expert[k]];
  const auto divisor = rule.renormalise ? sum + static_cast<Real>(kTinySum) : Real(1);
  for (std::int64_t k = 0; k < chosen; ++k) {
    weight[k] = weight[k] / divisor * static_cast<Real>(rule.scale);
  }
}

template <class Real>
void route(const RouteFwd& op) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t chosen = op.expert.shape[1];
  const Real* bias = op.bias.defined() ? op.bias.as<Real>() : nullptr;
  auto* expert = op.expert.as<std::int32_t>();
#pragma omp parallel if (tokens * experts > kParallelGrain)
  {
    Selector<Real> selector(op.rule, experts);
#pragma omp for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      Real* scores = op.scores.as<Real>() + t * experts;
      score(op.rule.score, op.logits.as<Real>() + t * experts, experts, scores);
      if (op.rule.forced > 0) {
        force(op, t, chosen, expert + t * chosen);
      } else {
        selector.select(scores, bias, chosen, expert + t * chosen);
      }
      weigh(op.rule, scores, expert + t * chosen, chosen, op.weight.as<Real>() + t * chosen);
    }
  }
  auto* counts = op.counts.as<std::int64_t>();
  const auto* sequence = op.sequence.defined() ? op.sequence.as<std::int32_t>() : nullptr;
  for (std::int64_t c = 0; c < tokens * chosen; ++c) {
    if (!sequence || sequence[c / chosen] >= 0) ++counts[expert[c]];
  }
}

/// Which sequence each token is of, and how long a whole one is.
class SequenceOf {
 public:
  template <class Op>
  SequenceOf(const Op& op, std::int64_t tokens)
      : index_(op.sequence.defined() ? op.sequence.template as<std::int32_t>() : nullptr),
        length_(index_ ? op.length : tokens / std::max<std::int64_t>(op.fraction.shape[0], 1)) {}
  /// -1 for padding.
  std::int64_t operator()(std::int64_t token) const {
    return index_ ? index_[token] : token / length_;
  }
  std::int64_t length() const { return length_; }

 private:
  const std::int32_t* index_;
  std::int64_t length_;
};

template <class Real>
void fractions(const RouteFraction& op) {
  const std::int64_t tokens = op.expert.shape[0], chosen = op.expert.shape[1];
  const std::int64_t experts = op.fraction.shape[1];
  const SequenceOf sequence(op, tokens);
  Real* fraction = op.fraction.as<Real>();
  std::fill_n(fraction, op.fraction.numel(), Real(0));
  for (std::int64_t c = 0; c < tokens * chosen; ++c) {
    const std::int64_t r = sequence(c / chosen);
    if (r >= 0) fraction[r * experts + op.expert.as<std::int32_t>()[c]] += 1;
  }
  const auto choices = static_cast<Real>(sequence.length() * chosen);
  for (std::int64_t i = 0; i < op.fraction.numel(); ++i) fraction[i] /= choices;
}

/// sum_e f_e p_e of one token, with p the scores normalised to sum 1.
template <class Real>
double balance(const Real* scores, const Real* fraction, std::int64_t experts) {
  double product = 0, sum = kTinySum;
  for (std::int64_t e = 0; e < experts; ++e) {
    product += static_cast<double>(scores[e]) * fraction[e];
    sum += scores[e];
  }
  return product / sum;
}

/// Whole sequences, or else runs of tokens, in parallel; their sums are added in order, so the
/// result is reproducible.
template <class Real>
void losses(const RouteLosses& op) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const SequenceOf sequence(op, tokens);
  const RowBlocks<double> runs(tokens, 0);
  const bool whole = !op.sequence.defined();
  const std::int64_t count = whole ? op.fraction.shape[0] : runs.count();
  std::vector<double> aux(count), z(count);
#pragma omp parallel for schedule(static) if (op.logits.numel() > kParallelGrain)
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = whole ? i * sequence.length() : runs.begin(i);
    const std::int64_t end = whole ? begin + sequence.length() : runs.end(i);
    double balance_sum = 0;
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t r = sequence(t);
      if (r < 0) continue;
      balance_sum += balance(op.scores.as<Real>() + t * experts,
                             op.fraction.as<Real>() + r * experts, experts);
      const double lse = log_sum_exp(op.logits.as<Real>() + t * experts, experts);
      z[i] += lse * lse;
    }
    aux[i] = static_cast<double>(experts) * balance_sum / static_cast<double>(sequence.length());
  }
  for (std::int64_t i = 0; i < count; ++i) {
    op.aux.as<double>()[0] += aux[i];
    op.z.as<double>()[0] += z[i];
  }
}

/// dscores += transpose of `weigh` applied to dweight.
template <class Real>
void weigh_backward(const RouterRule& rule, const Real* scores, const std::int32_t* expert,
                    const Real* dweight, std::int64_t chosen, Real* dscores) {
  Real sum = static_cast<Real>(kTinySum), product = 0;
  for (std::int64_t k = 0; k < chosen; ++k) {
    sum += scores[expert[k]];
    product += dweight[k] * scores[expert[k]];
  }
  const auto scale = static_cast<Real>(rule.scale);
  for (std::int64_t k = 0; k < chosen; ++k) {
    dscores[expert[k]] +=
        scale * (rule.renormalise ? (dweight[k] - product / sum) / sum : dweight[k]);
  }
}

/// dscores += coef * d(sum_e f_e p_e)/dscores; f is constant, p depends on every score.
template <class Real>
void balance_backward(const Real* scores, const Real* fraction, Real coef, std::int64_t experts,
                      Real* dscores) {
  Real sum = static_cast<Real>(kTinySum), product = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    sum += scores[e];
    product += fraction[e] * scores[e];
  }
  for (std::int64_t e = 0; e < experts; ++e) {
    dscores[e] += coef * (fraction[e] - product / sum) / sum;
  }
}

/// Turns dscores into dlogits in place.
template <class Real>
void score_backward(RouterScore kind, const Real* scores, std::int64_t experts, Real* gradient) {
  if (kind == RouterScore::sigmoid) {
    for (std::int64_t e = 0; e < experts; ++e) gradient[e] *= scores[e] * (1 - scores[e]);
    return;
  }
  Real mean = 0;
  for (std::int64_t e = 0; e < experts; ++e) mean += scores[e] * gradient[e];
  for (std::int64_t e = 0; e < experts; ++e) gradient[e] = scores[e] * (gradient[e] - mean);
}

template <class Real>
void route_backward(const RouteBwd& op) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t chosen = op.expert.shape[1];
  const SequenceOf sequence(op, tokens);
  const double balance_coef =
      op.aux_coef * static_cast<double>(experts) / static_cast<double>(sequence.length());
#pragma omp parallel for schedule(static) if (tokens * experts > kParallelGrain)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const Real* scores = op.scores.as<Real>() + t * experts;
    const Real* logits = op.logits.as<Real>() + t * experts;
    Real* gradient = op.dlogits.as<Real>() + t * experts;
    std::fill_n(gradient, experts, Real(0));
    weigh_backward(op.rule, scores, op.expert.as<std::int32_t>() + t * chosen,
                   op.dweight.as<Real>() + t * chosen, chosen, gradient);
    const std::int64_t r = op.aux_coef != 0 || op.sequence.defined() ? sequence(t) : 0;
    if (op.aux_coef != 0 && r >= 0) {
      balance_backward(scores, op.fraction.as<Real>() + r * experts,
                       static_cast<Real>(balance_coef), experts, gradient);
    }
    score_backward(op.rule.score, scores, experts, gradient);
    if (op.z_coef == 0 || r < 0) continue;
    const Real lse = log_sum_exp(logits, experts);
    const Real dlse = static_cast<Real>(2 * op.z_coef) * scalar_or_one<Real>(op.z_scale) * lse;
    for (std::int64_t e = 0; e < experts; ++e) gradient[e] += dlse * std::exp(logits[e] - lse);
  }
  if (!op.parts.defined()) return;
  for (std::int64_t t = 0; t < tokens; ++t) {
    Real* to = op.parts.as<Real>() + op.row_of.as<std::int32_t>()[t] * op.parts.stride[0];
    std::copy_n(op.dlogits.as<Real>() + t * experts, experts, to);
  }
}

template <class Real>
void update_bias(const RouterBiasUpdate& op) {
  const std::int64_t experts = op.counts.shape[0];
  const auto* counts = op.counts.as<std::int64_t>();
  std::int64_t total = 0;
  for (std::int64_t e = 0; e < experts; ++e) total += counts[e];
  for (std::int64_t e = 0; e < experts; ++e) {
    // sign(total / E - count) in whole numbers: no rounding near balance.
    const std::int64_t lack = total - experts * counts[e];
    op.bias.as<Real>()[e] += static_cast<Real>(op.rate) * ((lack > 0) - (lack < 0));
  }
}

template <class Real>
void update_bias(const RouterBiasAdamW& op) {
  const std::int64_t experts = op.counts.shape[0];
  const auto* counts = op.counts.as<std::int64_t>();
  std::int64_t total = 0;
  for (std::int64_t e = 0; e < experts; ++e) total += counts[e];
  if (total == 0) return;
  const Real steps = op.steps.as<Real>()[0] += 1;
  const Real b1 = op.beta1, b2 = op.beta2;
  const Real unbias1 = 1 - std::pow(b1, steps), unbias2 = 1 - std::pow(b2, steps);
  for (std::int64_t e = 0; e < experts; ++e) {
    // In whole numbers first: nothing is rounded near balance.
    const Real g = static_cast<Real>(experts * counts[e] - total) / static_cast<Real>(experts) /
                   static_cast<Real>(total);
    Real& m = op.m.as<Real>()[e];
    Real& v = op.v.as<Real>()[e];
    m = b1 * m + (1 - b1) * g;
    v = b2 * v + (1 - b2) * g * g;
    op.bias.as<Real>()[e] -= static_cast<Real>(op.rate) * (m / unbias1) /
                             (std::sqrt(v / unbias2) + static_cast<Real>(op.eps));
  }
}

}  // namespace

void run(const RouteFwd& op) {
  if (op.product.x.defined()) run(op.product);
  with_real(op.logits.dtype, RouteFwd::kName, [&](auto real) { route<decltype(real)>(op); });
}

void run(const RouteFraction& op) {
  with_real(op.fraction.dtype, RouteFraction::kName,
            [&](auto real) { fractions<decltype(real)>(op); });
}

void run(const RouteLosses& op) {
  with_real(op.logits.dtype, RouteLosses::kName, [&](auto real) { losses<decltype(real)>(op); });
}

void run(const RouteBwd& op) {
  with_real(op.logits.dtype, RouteBwd::kName,
            [&](auto real) { route_backward<decltype(real)>(op); });
}

void run(const RouterBiasUpdate& op) {
  with_real(op.bias.dtype, RouterBiasUpdate::kName,
            [&](auto real) { update_bias<decltype(real)>(op); });
}

void run(const RouterBiasAdamW& op) {
  with_real(op.bias.dtype, RouterBiasAdamW::kName,
            [&](auto real) { update_bias<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
