#include "io/held.h"

#include "io/part_copy.h"

namespace strait::io {
namespace {

/// What this rank holds of a part: a piece for each of its runs, an empty one when there are none.
void add_held(const core::Part& part, const std::string& suffix, const Tensor& of_param,
              std::vector<Held>& all) {
  const Tensor view = part.view(of_param);
  const auto dim = static_cast<std::size_t>(part.cut_dim);
  std::vector<core::Run> runs = part.runs;
  if (runs.empty()) runs.push_back({});
  for (const core::Run& run : runs) {
    const Tensor rows = view.slice(part.cut_dim, run.local, run.size);
    Piece piece = whole_piece(part.global_shape);
    piece.shape = shape_of(rows);
    piece.offset[dim] = run.global;
    piece.end = rows.numel();
    all.push_back({part.name + suffix, part.global_shape, std::move(piece), rows});
  }
}

}  // namespace

std::vector<Held> held_weights(const core::ParamTable& table) {
  std::vector<Held> all;
  for (const core::Part& part : table.parts()) add_held(part, "", part.param->master, all);
  return all;
}

std::vector<Held> owned_weights(const core::ParamTable& table) {
  std::vector<Held> all;
  for (const core::Part& part : table.parts()) {
    const core::Param& param = *part.param;
    if (param.spec.trainable && !param.owned()) continue;
    add_held(part, "", param.master, all);
  }
  return all;
}

std::vector<Held> held_states(const core::ParamTable& table) {
  std::vector<Held> all;
  for (const core::Part& part : table.parts()) {
    const core::Param& param = *part.param;
    if (!param.owned()) continue;
    const bool single = !param.adam_v.defined();
    add_held(part, single ? ".momentum" : ".adam_m", param.adam_m, all);
    if (!single) add_held(part, ".adam_v", param.adam_v, all);
  }
  return all;
}

}  // namespace strait::io
