#include "train/draw.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strait::train {
namespace {

/// Tokens by falling logit; all of them, or the first `count` alone in order.
std::vector<std::int32_t> ranked(const std::vector<double>& logits, std::size_t count) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const double la = logits[static_cast<std::size_t>(a)], lb = logits[static_cast<std::size_t>(b)];
    return la != lb ? la > lb : a < b;
  };
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(order.begin(), end, order.end(), likelier);
  order.erase(end, order.end());
  return order;
}

}  // namespace

std::int32_t draw(const std::vector<double>& logits, const DrawRule& rule, double u) {
  const auto best = std::max_element(logits.begin(), logits.end());
  if (rule.temperature <= 0) return static_cast<std::int32_t>(best - logits.begin());
  const std::size_t most = rule.top_k > 0 ? static_cast<std::size_t>(rule.top_k) : logits.size();
  std::vector<std::int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  if (most < logits.size() || rule.top_p < 1)
    tokens = ranked(logits, std::min(most, logits.size()));
  std::vector<double> weight;
  for (const std::int32_t token : tokens) {
    weight.push_back(
        std::exp((logits[static_cast<std::size_t>(token)] - *best) / rule.temperature));
  }
  double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  if (rule.top_p < 1) {
    double held = 0;
    std::size_t kept = 0;
    while (kept < weight.size() && (kept == 0 || held < rule.top_p * total)) held += weight[kept++];
    weight.resize(kept);
    total = held;
  }
  double left = u * total;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    left -= weight[i];
    if (left <= 0) return tokens[i];
  }
  return tokens[weight.size() - 1];
}

}  // namespace strait::train
