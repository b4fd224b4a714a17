#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strait::optim {
namespace {

/// 0 at the first decaying step, 1 at the last step of the run.
double progress(std::int64_t step, std::int64_t begin, std::int64_t steps) {
  if (step <= begin) return 0.0;
  return std::min(1.0, static_cast<double>(step - begin) /
                           static_cast<double>(std::max<std::int64_t>(steps - 1 - begin, 1)));
}

}  // namespace

double learning_rate(const config::Optim& optim, std::int64_t steps, std::int64_t step) {
  if (step < optim.warmup_steps) {
    return optim.lr * static_cast<double>(step + 1) / static_cast<double>(optim.warmup_steps);
  }
  const double low = optim.lr * optim.min_lr_ratio;
  switch (optim.schedule) {
    case config::ScheduleKind::constant:
      return optim.lr;
    case config::ScheduleKind::cosine: {
      const double at = progress(step, optim.warmup_steps, steps);
      return low + 0.5 * (optim.lr - low) * (1.0 + std::cos(std::numbers::pi * at));
    }
    case config::ScheduleKind::linear:
      return optim.lr + (low - optim.lr) * progress(step, optim.warmup_steps, steps);
    case config::ScheduleKind::wsd: {
      const auto decay = std::llround(optim.decay_fraction * static_cast<double>(steps));
      const auto begin = std::max<std::int64_t>(optim.warmup_steps, steps - 1 - decay);
      return optim.lr + (low - optim.lr) * progress(step, begin, steps);
    }
  }
  return optim.lr;
}

}  // namespace strait::optim
