#pragma once

#include <array>
#include <functional>
#include <limits>

#include "kernels/async.h"
#include "kernels/graph.h"
#include "optim/clip.h"
#include "optim/update.h"
#include "parallel/grad_sync.h"
#include "train/engine.h"

namespace strait::train {

/// What one optimizer step is made of.
struct StepInput {
  /// Brings the i-th micro-batch of this rank to the device, always to the same addresses and of
  /// the same size; valid until the next call.
  std::function<const parallel::TokenBatch&(std::int64_t i)> micro_batch;
  std::int64_t micro_batches = 1;
  double labels = 1;  // counted labels of the whole step, over all ranks
  double lr = 0;
  std::int64_t step = 1;  // from 1
  /// A larger sum of losses or gradient norm, or one that is no number, leaves weights and states
  /// as they are.
  std::array<double, 2> limits = {std::numeric_limits<double>::infinity(),
                                  std::numeric_limits<double>::infinity()};
  bool goes_on = false;  // another step follows: weights that other ranks moved may arrive while
                         // its forward runs, see Step::settle
};

/// Results on the device, valid until the next step begins.
struct StepOutput {
  Tensor loss_sum;  // [1] f64, nats, summed over all ranks
  optim::Clip clip;
  Tensor communication;  // [1] i64, nanoseconds that the stream stood in collectives of this rank
};

/// Optimizer steps of one engine. On a GPU the launches of a micro-batch and those of the update
/// are captured in CUDA graphs at the second step (never while the stream has an observer); nothing
/// in a step waits for the device. Borrows
/// the engine; make it after the engine was allocated, or while it plans.
class Step {
 public:
  explicit Step(Engine& engine);

  /// Enqueues one optimizer step: micro-batches, gradient sums over ranks, clipping, update.
  StepOutput run(const StepInput& input);
  /// What is enqueued from now on sees the weights of all ranks, as after a step that does not go
  /// on; call it before anything but a step reads or writes weights.
  void settle() { sync_.await_all(engine_.ctx().stream); }

 private:
  void load_values(const StepInput& input);
  bool layers_repeat() const;
  void run_part(kernels::Repeated& launches, bool repeatable, const std::function<void()>& enqueue);
  void begin();
  void micro_batch(bool last);
  void finish();

  Engine& engine_;
  optim::Update update_;
  parallel::GradSync sync_;
  kernels::HostBuffer values_;  // of this step and the one before, which may still be read
  // The first micro-batch assigns gradients that later ones add to; the last sums over ranks.
  kernels::Repeated begin_, first_micro_batch_, micro_batch_, last_micro_batch_, finish_;
  StepOutput out_;
};

}  // namespace strait::train
