#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/param_table.h"
#include "io/manifest.h"

// Checkpoints of a run: <run>/checkpoints/step_00000100/ with
//   model.rank_00000.safetensors      of each part's weight, trainable or not, what this rank wrote
//   optimizer.rank_00000.safetensors  <part>.adam_m and <part>.adam_v of trainable parts, or
//                                     <part>.momentum of those that keep a single state
//   manifest.json                     the rest, where every piece of every tensor lies, the size
//                                     and hash of each file, and a hash of itself; written last
// A folder is built under a temporary name, flushed and renamed, so one under its final name is
// complete. Random numbers are counter-based: seed and step are their whole state. A tensor is
// stored in pieces with their place in the whole (io/piece.h), and may be read in any others: a run
// goes on over other ranks than those that saved it. checkpoint_saver.h writes them.
namespace strait::io {

struct FoundCheckpoint {
  std::optional<std::filesystem::path> folder;  // the newest complete one
  std::vector<std::string> skipped;             // newer ones passed over, with the reason
};

/// Looks for the newest complete checkpoint; with `verify` also every byte of it must be as it was
/// written. A missing folder holds none.
FoundCheckpoint find_checkpoint(const std::filesystem::path& checkpoints, bool verify = false);

/// Throws InputError when the folder is not a complete checkpoint, saying what is missing.
CheckpointState read_checkpoint_state(const std::filesystem::path& folder);

/// Fills what this rank holds of weights and optimizer state, bit for bit. Called by every rank.
/// Throws InputError naming the first file that differs from its hash, or the first tensor whose
/// name, shape or dtype differs; nothing is written before all are checked.
void load_checkpoint(const std::filesystem::path& folder, core::ParamTable& table,
                     const Stream& stream);

/// Fills the weights alone, for a table that may be without optimizer state.
void load_weights(const std::filesystem::path& folder, core::ParamTable& table,
                  const Stream& stream);

/// As load_weights of the newest complete checkpoint, while the run may go on and remove old ones.
/// Returns its folder.
std::filesystem::path load_newest_weights(const std::filesystem::path& checkpoints,
                                          core::ParamTable& table, const Stream& stream);

}  // namespace strait::io
