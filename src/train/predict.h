#pragma once

#include <map>
#include <optional>
#include <string>

#include "io/rates.h"
#include "model/counts.h"
#include "train/plan.h"

namespace strait::train {

/// What a rank does and holds in one optimizer step.
struct StepWork {
  std::vector<MemoryItem> memory;            // does not grow with the number of micro-batches
  std::map<std::string, OpCount> ops;        // the attention core's FLOPs are not in them
  std::map<std::string, double> bytes_sent;  // by boundary
  double core_flops = 0;                     // of one forward, the causal half counted once
  double all_bytes_sent() const;
};

/// The work of rank 0 of a resolved config, whatever the number of micro-batches: found by planning
/// one and two of them.
StepWork step_work(const config::Config& config, int ranks, const model::ModelCounts& counts);

/// A step's time by the rates of a device. Launches follow one another; what ranks exchange comes
/// on top: with parallel.overlap less of it may be seen.
struct Prediction {
  std::string device;
  double products = 0, core = 0, rest = 0;  // seconds of matrix products, attention, other ops
  std::optional<double> exchange;           // seconds; absent: no bandwidth was measured
  std::string link_device;                  // that the bandwidth between ranks was measured on
  std::string without_rate;                 // ops that were taken at the copy bandwidth
  std::string other_heads;                  // ops whose rates are of other kernels

  double compute() const { return products + core + rest; }
  /// Seconds; without the exchange where that is not known.
  double step() const { return compute() + exchange.value_or(0); }
};

/// Rates are those of bf16: absent for another precision.compute.
std::optional<Prediction> predict(const StepWork& work, const config::Config& config, int ranks,
                                  const io::Rates& rates);

}  // namespace strait::train
