#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/param_table.h"

// Checkpoints of a run: <run>/checkpoints/step_00000100/ with
//   model.safetensors      every part's weight, trainable or not, under its own name
//   optimizer.safetensors  <part>.adam_m and <part>.adam_v of every trainable part, or
//                          <part>.momentum of one that keeps a single state
//   state.json             the rest, and the sizes of the other two; written last
// A folder is built under a temporary name, flushed and renamed, so one under its final name is
// complete. Random numbers are counter-based: seed and step are their whole state.
namespace strait::io {

/// What a run must know besides tensors to go on as if it had never stopped.
struct CheckpointState {
  std::int64_t step = 0;           // optimizer steps done
  std::int64_t tokens = 0;         // tokens trained on, over all ranks
  std::int64_t metrics_bytes = 0;  // length of metrics.jsonl at this step
  std::int64_t seed = 0;
  std::int64_t world_size = 1;  // ranks that wrote it; another number may resume it
  std::string revision;         // of the program
  std::string data;             // fingerprint of the training tokens; empty: not known
  std::string config;           // the resolved config as text, for the trainer to compare

  bool operator==(const CheckpointState&) const = default;
};

/// Writes the checkpoint of `state.step` and then removes all but the newest `keep` (0: keeps all)
/// and whatever interrupted saves left behind. Called by one rank; every parameter must be whole
/// on it. An older checkpoint of the same step is replaced. Returns the folder. Throws RuntimeFault
/// when the disk refuses; the checkpoints already there stay.
std::filesystem::path save_checkpoint(const std::filesystem::path& checkpoints,
                                      const core::ParamTable& table, const CheckpointState& state,
                                      std::int64_t keep, const Stream& stream);

struct FoundCheckpoint {
  std::optional<std::filesystem::path> folder;  // the newest complete one
  std::vector<std::string> skipped;             // newer ones passed over, with the reason
};

/// Looks for the newest complete checkpoint. A missing folder holds none.
FoundCheckpoint find_checkpoint(const std::filesystem::path& checkpoints);

/// Throws InputError when the folder is not a complete checkpoint, saying what is missing.
CheckpointState read_checkpoint_state(const std::filesystem::path& folder);

/// Fills weights and optimizer state bit for bit. Called by every rank. Throws InputError naming
/// the first tensor whose name, shape or dtype differs; nothing is written before all are checked.
void load_checkpoint(const std::filesystem::path& folder, core::ParamTable& table,
                     const Stream& stream);

}  // namespace strait::io
