#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "parallel/sequence_cut.h"

namespace strait::model {

/// Bytes that one rank sends at a boundary.
struct BoundaryBytes {
  std::string boundary;  // the name that communicators count it under
  double bytes = 0;
  std::string formula;  // of one layer and micro-batch
};

/// What a rank sends to context and tensor ranks for one micro-batch, forward and backward, by
/// formulas. T tokens of a context rank, B sequences; G, dk, dv, C, Cd those of a tensor rank;
/// e bytes of an element, s of a statistic. `cut` says where the rank is.
std::vector<BoundaryBytes> traffic_of(const config::Config& config,
                                      const parallel::SequenceCut& cut);

/// Choices of a rank's tokens that experts of other ranks get, and what its experts get from other
/// ranks; over all mixtures of one micro-batch or of several.
struct ExpertRows {
  double sent = 0, received = 0;
  double micro_batches = 1;
};

/// What is sent and received where every expert is chosen as often as any other, by one
/// micro-batch.
ExpertRows balanced_rows(const config::Config& config, const parallel::SequenceCut& cut);

/// What a rank sends to expert ranks, forward and backward: it depends on the routing. `rows`
/// stands for R (sent) and R' (received) in the formulas.
std::vector<BoundaryBytes> expert_traffic_of(const config::Config& config, const ExpertRows& rows);

}  // namespace strait::model
