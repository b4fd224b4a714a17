#pragma once

#include <string>
#include <vector>

#include "core/param_table.h"
#include "io/piece.h"

// What of a model's tensors lies on this rank, for checkpoints. The one place that reads a layout
// over ranks off the parameter table.
namespace strait::io {

/// A tensor of the table as this rank holds it.
struct Held {
  std::string name;                 // "layers.0.attn.q.weight", with ".adam_m" and so on behind
  std::vector<std::int64_t> shape;  // of the whole
  Piece piece;
  Tensor view;  // the elements of the piece in order, rows may be strided
};

/// Master weights, and what else is no optimizer state. Where another rank keeps the master, the
/// place to read it into.
std::vector<Held> held_weights(const core::ParamTable& table);
/// Those of them that hold values to save.
std::vector<Held> owned_weights(const core::ParamTable& table);
/// Of the parameters whose states this rank keeps.
std::vector<Held> held_states(const core::ParamTable& table);

}  // namespace strait::io
