#pragma once

#include <chrono>

#include "core/log.h"
#include "model/counts.h"
#include "train/data.h"
#include "train/feed.h"
#include "train/metrics.h"
#include "train/profile.h"
#include "train/readback.h"
#include "train/run_folder.h"
#include "train/step.h"

namespace strait::train {

/// The training run of one rank, from a start state to train.steps: steps, evaluations,
/// checkpoints, a sample of text at the end. The host runs one step ahead of the device: while a
/// step is computed it reads the results of the one before and prepares the next batch. Every rank
/// runs the same loop. Borrows everything.
class Loop {
 public:
  struct Parts {
    Engine& engine;
    const Data& data;
    const RunFolder& folder;
    core::Log& log;
    Metrics& metrics;
    ProfileSteps profile = {};
    double peak_flops = 0;  // of all devices of the run, see kernels::DeviceInfo; 0: not known
  };
  explicit Loop(const Parts& parts);

  /// Runs steps done + 1 .. train.steps; `tokens` were seen before. Throws RuntimeFault when the
  /// loss is not finite.
  void run(std::int64_t done, std::int64_t tokens);

 private:
  void enqueue(std::int64_t step);
  void begin_profile(std::int64_t step);
  void end_profile(std::int64_t step);
  void finish(std::int64_t step);
  void pause(std::int64_t step, bool evaluates, bool saves);
  StepMetrics read_metrics(std::int64_t step) const;
  void read_speed(std::int64_t step, StepMetrics& metrics) const;
  std::optional<BalanceMetrics> read_balance() const;
  kernels::DeviceStatus device_status();
  void evaluate_now(std::int64_t step);
  void save(std::int64_t step);
  void show_sample();
  double learning_rate(std::int64_t step) const;
  std::int64_t tokens_after(std::int64_t step) const;
  bool chief() const;

  Engine& engine_;
  const Data& data_;
  const RunFolder& folder_;
  core::Log& log_;
  Metrics& metrics_;
  ProfileSteps profile_;
  std::unique_ptr<OpTimer> timer_;  // while steps are profiled
  double peak_flops_;
  model::ModelCounts counts_;
  Feed feed_;
  Step step_;
  StepOutput out_;
  Readback results_;
  std::int64_t done_before_ = 0;
  std::int64_t tokens_before_ = 0;
  std::int64_t finished_ = 0;
  std::chrono::steady_clock::time_point last_status_{};
};

}  // namespace strait::train
