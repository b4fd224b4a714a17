#pragma once

#include "config/config.h"
#include "core/param_table.h"
#include "parallel/ctx.h"

namespace strait::optim {

/// One AdamW step over the table, less the matrices where optim.kind gives them to another: weights
/// and states change in place, one launch for each range of the flat parameters. On the device:
/// `grad_scale` [1] f64 multiplies every gradient, `rates` [4] f64 are those of
/// kernels::adam_rates. `seed` keys the rounding of states in bf16.
void adamw_step(core::ParamTable& table, const config::Optim& optim, std::uint64_t seed,
                ConstTensor rates, ConstTensor grad_scale, const Stream& stream);

}  // namespace strait::optim
