#pragma once

#include <array>

#include "input/loader.h"
#include "kernels/async.h"
#include "train/engine.h"

namespace strait::train {

/// This rank's share of the global batches, cut into micro-batches. Steps are prepared on the host
/// while the device works on the one before; their blocks travel on a stream of their own while the
/// device computes the previous micro-batch. Borrows engine and loader; make it after the engine
/// was allocated.
class Feed {
 public:
  Feed(Engine& engine, const input::Loader& loader);

  /// What is known of a step's batch on the host, over all ranks.
  struct Totals {
    double labels = 0;  // counted
    double pairs = 0;   // (query, key), see model::pairs_of
  };

  /// From now on step s reads batch s + `batches`: what a rewound run passes over.
  void pass_over(std::int64_t batches) { passed_over_ = batches; }
  std::int64_t passed_over() const { return passed_over_; }

  /// Loads step `step` (from 0) into host memory. Collective over the data ranks. The step before
  /// may still be under way on the device, the one before that not.
  void prepare(std::int64_t step);

  /// Brings micro-batch i of a prepared step to the device; valid until the next call.
  const parallel::TokenBatch& micro_batch(std::int64_t step, std::int64_t i);

  const Totals& totals(std::int64_t step) const { return totals_[step % 2]; }

 private:
  void count(std::int64_t step);
  std::int32_t* block(std::int64_t step, std::int64_t i) const;

  Engine& engine_;
  const input::Loader& loader_;
  input::Samples samples_;
  std::array<Totals, 2> totals_;
  std::array<kernels::HostBuffer, 2> host_;  // blocks of a step's micro-batches
  kernels::OwnedStream copies_;
  std::array<kernels::Event, 2> filled_, freed_;  // of the device's staging blocks
  std::int64_t sent_ = 0;
  std::int64_t passed_over_ = 0;
};

}  // namespace strait::train
