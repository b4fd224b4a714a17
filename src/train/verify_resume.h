#pragma once

#include "core/log.h"
#include "train/data.h"
#include "train/engine.h"
#include "train/plan.h"

namespace strait::train {

/// What --verify-resume trains with: a run's own config, on this rank.
struct VerifyParts {
  const config::Config& config;
  const parallel::Mesh& mesh;
  parallel::Groups& groups;
  const Data& data;
  Device device;
  core::Log& log;
};

/// Trains 2 N steps at a stretch, then N steps, a checkpoint, and N steps from it by an engine made
/// anew, and compares the bits of all weights and optimizer states. Works in a folder of its own,
/// which it removes. Called by every rank. Throws AgreedFailure: with CheckFailed naming the first
/// tensor that differs.
void verify_resume(const VerifyParts& parts, std::int64_t steps);

}  // namespace strait::train
