#pragma once

#include "core/log.h"
#include "io/checkpoint.h"
#include "train/data.h"
#include "train/engine.h"
#include "train/run_folder.h"

namespace strait::train {

/// Gives an allocated engine the weights and optimizer state that a run begins with: those of the
/// folder's newest checkpoint when the run resumes and has one, else those of init.from, else the
/// ones it has. Returns what is known of the run so far; default values at its start. Throws
/// InputError when the checkpoint is of another config or other training tokens.
io::CheckpointState start_state(Engine& engine, const RunFolder& folder, const Data& data,
                                core::Log& log);

}  // namespace strait::train
