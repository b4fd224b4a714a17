#include "layers/rms_norm.h"

namespace strait::layers {

using kernels::launch;
using kernels::RmsNormBwd;
using kernels::RmsNormFwd;

RmsNorm::RmsNorm(const Build& build, const std::string& name, std::int64_t width, double eps,
                 bool wide)
    : weight_(build.table.add({.name = name + ".weight",
                               .shape = {width},
                               .init = core::Init::constant(1.0),
                               .wide = wide})),
      eps_(eps) {}

void RmsNorm::forward(Ctx& ctx, ConstTensor x, Tensor y, Tensor rstd) const {
  launch(RmsNormFwd{.x = x, .w = weight_.weight, .y = y, .rstd = rstd, .eps = eps_}, ctx.stream);
}

void RmsNorm::forward_residual(Ctx& ctx, const Residual& terms, Tensor sum, Tensor y,
                               Tensor rstd) const {
  launch(RmsNormFwd{.x = terms.h,
                    .delta = terms.delta,
                    .w = weight_.weight,
                    .scales = terms.scales,
                    .experts = terms.experts,
                    .sum = sum,
                    .y = y,
                    .rstd = rstd,
                    .eps = eps_},
         ctx.stream);
}

void RmsNorm::backward(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd, Tensor dx) const {
  launch(
      RmsNormBwd{.dy = dy, .s = s, .w = weight_.weight, .rstd = rstd, .dx = dx, .dw = weight_.grad},
      ctx.stream);
}

void RmsNorm::backward_residual(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd,
                                Tensor d) const {
  launch(RmsNormBwd{.dy = dy,
                    .s = s,
                    .w = weight_.weight,
                    .rstd = rstd,
                    .dresidual = d,
                    .dx = d,
                    .dw = weight_.grad},
         ctx.stream);
}

}  // namespace strait::layers
