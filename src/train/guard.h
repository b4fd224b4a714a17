#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>

#include "config/config.h"

namespace strait::train {

/// Tells steps that would spoil the weights from others: loss or gradient norm is no number, or
/// further above the median of the steps before than guard.z robust standard deviations (1.4826 x
/// the median distance from the median). Every rank sees the same numbers and decides the same.
class Guard {
 public:
  explicit Guard(const config::Guard& config) : config_(config) {}

  /// A step that was made, in order; also those of the run before it was resumed.
  void accept(double loss, double norm);
  /// What the next step may reach: loss and gradient norm, infinite without enough steps before.
  std::array<double, 2> limits() const;

  struct Verdict {
    config::OnBadStep action = config::OnBadStep::off;  // off: a good step
    std::string reason;                                 // "loss 7.31 above 2.40"
  };
  /// Judges a step by the limits it was run with: of the sum of its losses over `labels`, and of
  /// its gradient norm.
  Verdict judge(double loss_sum, double labels, double norm,
                const std::array<double, 2>& limits) const;

  /// One more step was not made. False when it was one too many.
  bool count() { return ++bad_ <= config_.limit; }
  std::int64_t bad() const { return bad_; }

 private:
  config::Guard config_;
  std::deque<double> losses_, norms_;
  std::int64_t bad_ = 0;
};

/// Limit for the next of `values`: median + z robust deviations, these at least 1e-3 of the median.
double spike_limit(const std::deque<double>& values, double z);

}  // namespace strait::train
