#pragma once

#include "core/log.h"
#include "train/loop.h"

namespace strait::train {

/// The checkpoint that every rank goes on from: the newest of which every byte is as it was
/// written, as rank 0 sees it (ranks of other hosts may see a new folder later); empty: there is
/// none. Collective. Throws AgreedFailure with an InputError when there are some but none is whole.
std::filesystem::path choose_checkpoint(const RunFolder& folder, parallel::Communicator& world,
                                        core::Log& log);

/// Where a run begins: `checkpoint`, or if that is empty nothing done and the weights of init.from.
/// Fills the engine's weights and optimizer state. Called by every rank. Throws InputError when the
/// checkpoint is of another run.
io::CheckpointState start_state(Engine& engine, const std::filesystem::path& checkpoint,
                                const Data& data, core::Log& log);

/// How much of metrics.jsonl a run that goes on from `state` keeps. A file that lost lines keeps
/// the whole lines it has, which is said.
std::int64_t metrics_kept(const io::CheckpointState& state, const RunFolder& folder,
                          core::Log& log);

/// The start of a loop, with the metrics before it, once metrics.jsonl ends where `state` was
/// saved. Rank 0 reads them for all: ranks that judge a step by others would part. Collective.
LoopStart loop_start(const io::CheckpointState& state, const RunFolder& folder, std::int64_t window,
                     parallel::Communicator& world);

}  // namespace strait::train
