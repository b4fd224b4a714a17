#pragma once

#include <functional>

#include "optim/clip.h"
#include "train/engine.h"

namespace strait::train {

/// What one optimizer step is made of.
struct StepInput {
  /// The i-th micro-batch of this rank; valid until the next call.
  std::function<const parallel::TokenBatch&(std::int64_t i)> micro_batch;
  std::int64_t micro_batches = 1;
  parallel::LossScale scale = {};
  double lr = 0;
  std::int64_t step = 1;  // from 1
};

/// Results on the device, valid until the next step begins.
struct StepOutput {
  Tensor loss_sum;  // [1] f64, nats, summed over all ranks
  optim::Clip clip;
};

/// One optimizer step: micro-batches, gradient sums over ranks, clipping, update.
StepOutput run_step(Engine& engine, const StepInput& input);

}  // namespace strait::train
