#include "train/guard.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace strait::train {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::string above(const char* what, double value, double limit) {
  char text[96];
  std::snprintf(text, sizeof text, "%s %.4g above %.4g", what, value, limit);
  return text;
}

}  // namespace

double spike_limit(const std::deque<double>& values, double z) {
  const double median = median_of({values.begin(), values.end()});
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - median));
  const double deviation = 1.4826 * median_of(std::move(distances));
  return median + z * std::max(deviation, 1e-3 * std::abs(median));
}

void Guard::accept(double loss, double norm) {
  losses_.push_back(loss);
  norms_.push_back(norm);
  if (static_cast<std::int64_t>(losses_.size()) <= config_.window) return;
  losses_.pop_front();
  norms_.pop_front();
}

std::array<double, 2> Guard::limits() const {
  const bool known = static_cast<std::int64_t>(losses_.size()) >= config_.window;
  if (config_.spike == config::OnBadStep::off || !known) return {kInfinity, kInfinity};
  return {spike_limit(losses_, config_.z), spike_limit(norms_, config_.z)};
}

Guard::Verdict Guard::judge(double loss_sum, double labels, double norm,
                            const std::array<double, 2>& limits) const {
  if (!std::isfinite(loss_sum) || !std::isfinite(norm)) {
    return {config_.non_finite, "loss or gradient norm is not finite"};
  }
  if (loss_sum > limits[0]) {
    return {config_.spike, above("loss", loss_sum / labels, limits[0] / labels)};
  }
  if (norm > limits[1]) return {config_.spike, above("gradient norm", norm, limits[1])};
  return {};
}

}  // namespace strait::train
