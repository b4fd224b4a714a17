#pragma once

#include "input/loader.h"
#include "train/engine.h"

namespace strait::train {

/// This rank's share of the global batch of one step, cut into micro-batches.
class Feed {
 public:
  /// Loads step `step` (from 0). Collective over the data ranks. Borrows both.
  void begin(Engine& engine, const input::Loader& loader, std::int64_t step);

  /// Copies micro-batch i to the device; valid until the next call.
  const parallel::TokenBatch& micro_batch(Engine& engine, std::int64_t i);

  /// Counted labels of the whole step, over all ranks.
  double labels() const { return totals_[0]; }
  /// (query, key) pairs of the whole step, see model::pairs_of.
  double pairs() const { return totals_[1]; }

 private:
  void count(const config::Attention& attention);
  input::Samples samples_;
  double totals_[2] = {0, 0};
};

}  // namespace strait::train
