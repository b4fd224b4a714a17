#pragma once

#include <limits>
#include <vector>

#include "parallel/ctx.h"
#include "parallel/probe.h"
#include "train/stability.h"

namespace strait::train {

/// Collects on the host what measure_stability() reports: sums and peaks of this rank during a
/// forward, then those of all ranks. Borrows the context, whose tokens are loaded.
class StabilityProbe : public parallel::Probe {
 public:
  StabilityProbe(parallel::Ctx& ctx, std::int64_t layers);

  void scores(std::int64_t layer, ConstTensor q, ConstTensor k, const parallel::Spans& spans,
              double scale) override;
  void values(std::int64_t layer, ConstTensor v, ConstTensor o) override;
  void mix(std::int64_t layer, const parallel::MixWeights& weights) override;

  /// Collective over all ranks.
  Stability result();

 private:
  /// Squares of a convolution's taps, and the channels that they were added up over.
  struct Taps {
    std::vector<double> squares = {};
    double channels = 0;
  };
  struct Layer {
    double max_logit = -std::numeric_limits<double>::infinity();
    double tau_max = -std::numeric_limits<double>::infinity();
    double tau_min = std::numeric_limits<double>::infinity();
    double tau_sum = 0, key_heads = 0;
    Taps conv0 = {}, conv1 = {};
    std::vector<double> v = {}, out = {};  // [rows, width], rows without a label too
  };

  void add_over_tensor_ranks();
  void agree_on_peaks();
  /// Effective rank of rows [rows, width] of all context ranks and heads of all tensor ranks.
  double rank_of(const std::vector<double>& rows) const;

  parallel::Ctx& ctx_;
  std::vector<std::int64_t> rows_;  // measured ones of this rank
  std::vector<double> counts_;      // 1 where the row has a label, else 0; of this rank,
  std::vector<double> all_counts_;  // of all context ranks
  std::vector<Layer> layers_;
};

}  // namespace strait::train
