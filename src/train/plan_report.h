#pragma once

#include <string>
#include <vector>

#include "model/count_table.h"
#include "model/counts.h"
#include "model/traffic.h"
#include "train/predict.h"

namespace strait::train {

/// Dense BF16 peak of one H100 SXM in FLOP/s, the denominator of MFU.
inline constexpr double kPeakFlops = 989.4e12;

/// What ./plan prints: a resolved config's sizes, work and memory, without a device.
struct PlanReport {
  config::Config config;
  model::ModelCounts counts;
  double pairs_per_token = 0;  // keys a token sees in a document of seq_len tokens
  int ranks = 1;
  StepWork work;                              // of rank 0
  std::optional<Prediction> prediction;       // of a step, where there are rates for it
  std::vector<model::BoundaryBytes> traffic;  // of rank 0 and a step, to cp, tp and ep ranks
  model::TableSymbols symbols;
  std::vector<model::TableRow> table;
  model::DirectCount direct;

  /// Forward and backward of one token, the attention core included; three times the forward.
  double training_flops_per_token() const;
  /// Key/value cache of one token in bf16, over all layers.
  std::int64_t cache_bytes_per_token() const { return 2 * counts.cache_per_token; }
  /// Parameters outside of embedding and head.
  std::int64_t non_embedding() const;
  std::size_t memory_bytes() const;
  /// What is predicted of the whole run, evaluations and checkpoints left out. Precondition: there
  /// is a prediction.
  double tokens_per_second() const;
  double mfu() const;  // of kPeakFlops on every rank
  double gpu_hours() const;
};

/// `config` as resolved for `ranks` ranks; memory, work and bytes are those of rank 0. Without
/// `rates` nothing is predicted.
PlanReport make_plan_report(const config::Config& config, int ranks,
                            const io::Rates* rates = nullptr);

std::string to_text(const PlanReport& report);
/// A line "section,name,value" for every number, after a line that says so.
std::string to_csv(const PlanReport& report);
/// One JSON object on one line.
std::string to_json(const PlanReport& report);

}  // namespace strait::train
