#pragma once

#include "core/log.h"
#include "model/counts.h"
#include "train/data.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/step.h"

namespace strait::train {

/// The training run of one rank, from a start state to train.steps: steps, evaluations,
/// checkpoints, a sample of text at the end. Every rank runs the same loop. Borrows everything.
class Loop {
 public:
  struct Parts {
    Engine& engine;
    const Data& data;
    const RunFolder& folder;
    core::Log& log;
    Metrics& metrics;
  };
  explicit Loop(const Parts& parts);

  /// Runs steps done + 1 .. train.steps; `tokens` were seen before. Throws RuntimeFault when the
  /// loss is not finite.
  void run(std::int64_t done, std::int64_t tokens);

 private:
  void train_one(std::int64_t step);
  StepMetrics read_metrics(std::int64_t step, const StepOutput& out, double lr);
  std::optional<BalanceMetrics> read_balance();
  void evaluate_now(std::int64_t step);
  void save(std::int64_t step);
  void show_sample();
  bool chief() const;

  Engine& engine_;
  const Data& data_;
  const RunFolder& folder_;
  core::Log& log_;
  Metrics& metrics_;
  model::ModelCounts counts_;
  Feed feed_;
  std::int64_t tokens_ = 0;
};

}  // namespace strait::train
