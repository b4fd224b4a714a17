#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/log.h"
#include "io/json_lines.h"
#include "kernels/device_info.h"
#include "parallel/phase_clock.h"
#include "train/choice_eval.h"
#include "train/evaluate.h"
#include "train/plan.h"
#include "train/stability.h"

namespace strait::train {

/// Balance of one step's routing, over all MoE layers.
struct BalanceMetrics {
  double aux = 0;  // mean over layers and sequences of the balance loss; 1 is balanced
  double z = 0;    // mean over layers and tokens of logsumexp^2
  struct Layer {
    double max_load, min_load;
  };
  std::vector<Layer> layers = {};  // of each mixture
  double max_load = 0;             // largest share of an expert times the number of experts
  double min_load = 0;             // smallest
};

/// What is known after one optimizer step.
struct StepMetrics {
  std::int64_t step = 0;    // from 1
  std::int64_t tokens = 0;  // since the start of the run
  double loss = 0;          // nats per counted label
  double lr = 0;
  double grad_norm = 0;  // before clipping
  double seconds = 0;    // of the step, by the device's clock: the sum of its phases
  std::array<double, parallel::kPhaseNames.size()> phase_seconds{};
  // Of `seconds`, rank 0's wait for what ranks send one another; absent with one rank.
  std::optional<double> communication_seconds = {};
  double tokens_per_second = 0;  // over all ranks
  double flops_per_second = 0;   // model FLOPs, 3 x forward, over all ranks
  double mfu = 0;                // flops_per_second over the peak of all devices; NaN: not known
  std::optional<BalanceMetrics> balance;
  bool bad = false;                   // the step was not made, see Guard
  kernels::DeviceStatus device = {};  // when it was asked for at this step
};

/// Bytes that the plan of a rank says it takes, and what it took.
struct RankMemory {
  std::size_t planned = 0, measured = 0;
};

/// Writes metrics.jsonl and the progress line; only rank 0's instance has a file.
class Metrics {
 public:
  /// `writer` may be null: then nothing is written. Borrows the log.
  Metrics(core::Log& log, std::unique_ptr<io::JsonLinesWriter> writer, std::int64_t steps,
          std::int64_t log_every);

  void step(const StepMetrics& metrics);
  void evaluation(std::int64_t step, const Evaluation& results);
  void task(std::int64_t step, const ChoiceResult& result);
  void stability(std::int64_t step, const Stability& results);
  /// What the run has seen of its datasets.
  void datasets(std::int64_t step, const std::vector<input::DatasetProgress>& progress);
  /// Planned bytes of this rank, by category and in all, and the growth of its device's memory, or
  /// resident memory at its highest on the cpu; the same totals of every rank.
  void memory(std::int64_t step, const StepPlan& plan, const std::vector<RankMemory>& ranks);
  void event(const std::string& name, std::int64_t step, const std::string& detail);
  /// Flushes the lines so far to the disk.
  void sync();
  /// Bytes of metrics.jsonl so far; 0 without a file.
  std::int64_t offset() const { return writer_ ? writer_->offset() : 0; }

 private:
  /// A line that cannot be written is lost, which is said once.
  void put(const io::JsonLine& line);
  void attempt(const std::function<void()>& work);

  bool lost_ = false;
  core::Log& log_;
  std::unique_ptr<io::JsonLinesWriter> writer_;
  std::int64_t steps_;
  std::int64_t log_every_;
  double smooth_seconds_ = 0;  // moving average, for the ETA
};

}  // namespace strait::train
