#pragma once

#include "config/config.h"

namespace strait::optim {

/// Learning rate of step `step` (0-based) out of `steps`: linear warm-up to optim.lr, then
/// constant, cosine or linear decay to lr * min_lr_ratio at the last step; wsd stays at lr until
/// the last decay_fraction of the steps and decays linearly there (arXiv 2405.18392).
double learning_rate(const config::Optim& optim, std::int64_t steps, std::int64_t step);

}  // namespace strait::optim
