#pragma once

#include "core/param_table.h"
#include "parallel/ctx.h"

namespace strait::optim {

/// Global gradient norm and the factor that clips it; both [1] f64 on the device.
struct Clip {
  Tensor norm;
  Tensor scale;
};

/// Norm over all gradients of all ranks, which were summed, clipped to `max_norm`; 0: no clipping.
/// Collective. Takes its results from ctx.state. The gradients themselves stay as they are.
Clip clip_gradients(const core::ParamTable& table, parallel::Ctx& ctx, double max_norm);

}  // namespace strait::optim
