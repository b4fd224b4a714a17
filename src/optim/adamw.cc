#include "optim/adamw.h"

#include "kernels/optimizer.h"

namespace strait::optim {

void adamw_step(core::ParamTable& table, const config::Optim& optim, std::uint64_t seed,
                ConstTensor rates, ConstTensor grad_scale, const Stream& stream) {
  const bool moves_matrices = optim.kind == config::OptimKind::adamw;
  for (const core::ParamRange& range : table.ranges()) {
    if (range.group == core::OptimGroup::matrix && !moves_matrices) continue;
    const core::FlatParams flat = table.of(range);
    const bool mixed = flat.master.data != flat.weight.data;
    kernels::launch(kernels::AdamW{.w = flat.master,
                                   .g = flat.grad,
                                   .m = flat.adam_m,
                                   .v = flat.adam_v,
                                   .w_compute = mixed ? flat.weight : Tensor{},
                                   .grad_scale = grad_scale,
                                   .rates = rates,
                                   .beta1 = optim.beta1,
                                   .beta2 = optim.beta2,
                                   .eps = optim.eps,
                                   .decay = range.decay ? optim.weight_decay : 0.0,
                                   .seed = seed,
                                   .first_index = range.begin},
                    stream);
  }
}

}  // namespace strait::optim
