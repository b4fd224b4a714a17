#pragma once

#include "config/config.h"
#include "core/param_table.h"
#include "parallel/ctx.h"

namespace strait::optim {

/// One AdamW step over the table: weights and states change in place. `grad_scale` [1] f64 on the
/// device multiplies every gradient; `step` counts from 1.
void adamw_step(core::ParamTable& table, const config::Optim& optim, double lr, std::int64_t step,
                ConstTensor grad_scale, const parallel::Ctx& ctx);

}  // namespace strait::optim
