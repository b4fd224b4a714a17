#include "optim/clip.h"

#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace strait::optim {

using kernels::launch;

Clip clip_gradients(const core::ParamTable& table, parallel::Ctx& ctx, double max_norm) {
  const Tensor sum = ctx.state.take(DType::f64, {1});
  const Clip clip{ctx.state.take(DType::f64, {1}), ctx.state.take(DType::f64, {1})};
  launch(kernels::Fill{.x = sum, .value = 0}, ctx.stream);
  launch(kernels::SumSquares{.x = table.flat().grad, .out = sum}, ctx.stream);
  launch(
      kernels::ClipScale{
          .sum_squares = sum, .norm = clip.norm, .scale = clip.scale, .max_norm = max_norm},
      ctx.stream);
  return clip;
}

}  // namespace strait::optim
