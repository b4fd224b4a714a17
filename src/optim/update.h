#pragma once

#include <optional>

#include "optim/muon.h"
#include "parallel/ctx.h"

namespace strait::optim {

/// The update of a step by optim.kind: AdamW for all parameters, or Muon for the matrix group and
/// AdamW for the rest. Borrows the table; made after it was allocated, or while it plans.
class Update {
 public:
  Update(core::ParamTable& table, const config::Optim& optim);

  /// Weights and states change in place, see adamw_step.
  void step(parallel::Ctx& ctx, std::uint64_t seed, ConstTensor rates, ConstTensor grad_scale);

 private:
  core::ParamTable& table_;
  config::Optim optim_;
  std::optional<Muon> muon_;
};

}  // namespace strait::optim
