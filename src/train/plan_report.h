#pragma once

#include <string>
#include <vector>

#include "model/count_table.h"
#include "model/counts.h"
#include "model/traffic.h"
#include "train/plan.h"

namespace strait::train {

/// Dense BF16 peak of one H100 SXM in FLOP/s, the denominator of MFU.
inline constexpr double kPeakFlops = 989.4e12;

/// What ./plan prints: a resolved config's sizes, work and memory, without a device.
struct PlanReport {
  config::Config config;
  model::ModelCounts counts;
  double pairs_per_token = 0;                 // keys a token sees in a document of seq_len tokens
  std::vector<MemoryItem> memory;             // of one rank
  std::vector<model::BoundaryBytes> traffic;  // of rank 0 and a step, to context and tensor ranks
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
};

/// `config` as resolved for `ranks` ranks; the memory is that of rank 0.
PlanReport make_plan_report(const config::Config& config, int ranks);

std::string to_text(const PlanReport& report);
/// One JSON object on one line.
std::string to_json(const PlanReport& report);

}  // namespace strait::train
