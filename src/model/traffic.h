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

}  // namespace strait::model
