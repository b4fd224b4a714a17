#pragma once

#include "config/config.h"
#include "parallel/communicator.h"
#include "tests/layouts/values.h"

namespace strait::layouts {

/// One rank's part of a run on synthetic tokens that depend on the seed alone: gradients of `draws`
/// batches, then weights after `steps` optimizer steps. Collective.
RankValues run_rank(const config::Config& config, parallel::Communicator& world, Device device,
                    std::int64_t draws, std::int64_t steps);

}  // namespace strait::layouts
