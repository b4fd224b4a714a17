#pragma once

#include "config/config.h"
#include "parallel/communicator.h"
#include "tests/layouts/values.h"

namespace strait::layouts {

struct RunOptions {
  std::int64_t draws = 1;  // batches whose gradients are taken
  std::int64_t steps = 0;  // of the optimizer, before weights are
  bool peers = false;      // ranks of the CPU write to each other (message_peers.h)
};

/// One rank's part of a run on synthetic tokens that depend on the seed alone. Collective.
RankValues run_rank(const config::Config& config, parallel::Communicator& world, Device device,
                    const RunOptions& options);

}  // namespace strait::layouts
