#pragma once

#include "core/log.h"
#include "train/loop.h"

namespace strait::train {

/// Where a run begins: nothing done, the weights of init.from, or the newest checkpoint of a run
/// that goes on of which every byte is as it was written. Fills the engine's weights and optimizer
/// state. Called by every rank. Throws InputError when the checkpoint is of another run.
io::CheckpointState start_state(Engine& engine, const RunFolder& folder, const Data& data,
                                core::Log& log);

/// The start of a loop, with the metrics before it, once metrics.jsonl ends where `state` was
/// saved.
LoopStart loop_start(const io::CheckpointState& state, const RunFolder& folder,
                     std::int64_t window);

}  // namespace strait::train
