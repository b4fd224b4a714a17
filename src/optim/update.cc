#include "optim/update.h"

#include "optim/adamw.h"

namespace strait::optim {

Update::Update(core::ParamTable& table, const config::Optim& optim) : table_(table), optim_(optim) {
  if (optim.kind == config::OptimKind::muon) muon_.emplace(table, optim);
}

void Update::step(parallel::Ctx& ctx, std::uint64_t seed, ConstTensor rates,
                  ConstTensor grad_scale) {
  adamw_step(table_, optim_, seed, rates, grad_scale, ctx.stream);
  if (muon_)
    muon_->step(ctx.scratch, ctx.groups.axis(core::Axis::tp), seed, rates, grad_scale, ctx.stream);
}

}  // namespace strait::optim
