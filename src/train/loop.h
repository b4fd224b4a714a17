#pragma once

#include <array>
#include <chrono>
#include <vector>

#include "core/log.h"
#include "io/checkpoint_saver.h"
#include "model/counts.h"
#include "train/data.h"
#include "train/feed.h"
#include "train/guard.h"
#include "train/metrics.h"
#include "train/profile.h"
#include "train/readback.h"
#include "train/run_folder.h"
#include "train/step.h"

namespace strait::train {

/// Where a loop begins: what has been done, and the metrics of it that the guard goes by.
struct LoopStart {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::int64_t batches = 0;  // of the data that are used up
  std::vector<double> losses = {}, norms = {};
};

/// The training run of one rank, from a start state to train.steps: steps, evaluations,
/// checkpoints, a sample of text at the end. The host runs one step ahead of the device: while a
/// step is computed it reads the results of the one before and prepares the next batch. Bad steps
/// are not made, as Guard says; a signal to stop, on any rank, saves and ends the run. Every rank
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
    std::int64_t last = 0;  // step to end after; 0: train.steps
  };
  explicit Loop(const Parts& parts);

  /// Runs the steps that are left. Throws RuntimeFault when a bad step ends the run, and when its
  /// last checkpoint cannot be saved. Returns false when a signal ended it before its end.
  bool run(const LoopStart& start);

 private:
  void enqueue(std::int64_t step);
  void begin_profile(std::int64_t step);
  void end_profile(std::int64_t step);
  void begin_at(const LoopStart& start);
  /// False: the run must go back to its last checkpoint.
  bool finish(std::int64_t step);
  bool act(const StepMetrics& metrics, const Guard::Verdict& verdict);
  std::int64_t rewind(std::int64_t bad_step);
  /// What happens between two steps, with no step under way.
  struct Pause {
    bool evaluates = false, probes = false, saves = false;
  };
  bool pause(std::int64_t step, const Pause& what);
  bool agree_to_stop(std::int64_t step);
  void finish_save(bool required);
  void keep_beside();
  StepMetrics read_metrics(std::int64_t step) const;
  void read_speed(std::int64_t step, StepMetrics& metrics) const;
  std::optional<BalanceMetrics> read_balance() const;
  kernels::DeviceStatus device_status();
  void evaluate_now(std::int64_t step);
  void save(std::int64_t step);
  void record(const std::string& name, std::int64_t step, const std::string& detail);
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
  io::CheckpointSaver saver_;
  Guard guard_;
  std::array<std::array<double, 2>, 2> limits_;  // of the steps under way
  std::int64_t last_ = 0;
  std::int64_t done_before_ = 0;
  std::int64_t tokens_before_ = 0;
  std::int64_t finished_ = 0;
  std::chrono::steady_clock::time_point last_status_{};
};

}  // namespace strait::train
