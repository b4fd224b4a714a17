#include "optim/adamw.h"

#include "kernels/optimizer.h"

namespace strait::optim {

void adamw_step(core::ParamTable& table, const config::Optim& optim, double lr, std::int64_t step,
                ConstTensor grad_scale, const parallel::Ctx& ctx) {
  for (core::Param& param : table.params()) {
    if (!param.spec.trainable) continue;
    const std::int64_t n = param.weight.numel();
    const bool mixed = param.master.data != param.weight.data;
    kernels::launch(kernels::AdamW{.w = param.master.view({n}),
                                   .g = param.grad.view({n}),
                                   .m = param.adam_m,
                                   .v = param.adam_v,
                                   .w_compute = mixed ? param.weight.view({n}) : Tensor{},
                                   .grad_scale = grad_scale,
                                   .lr = lr,
                                   .beta1 = optim.beta1,
                                   .beta2 = optim.beta2,
                                   .eps = optim.eps,
                                   .decay = param.spec.decay ? optim.weight_decay : 0.0,
                                   .step = step},
                    ctx.stream);
  }
}

}  // namespace strait::optim
