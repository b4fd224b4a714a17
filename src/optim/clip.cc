#include "optim/clip.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace strait::optim {

using kernels::launch;

namespace {

/// Ranks of the axes that a gradient is summed over hold the same: the first of them counts it.
bool counts_here(const core::GradientRun& run, parallel::Groups& groups) {
  return std::ranges::all_of(run.axes,
                             [&](core::Axis axis) { return groups.axis(axis).rank() == 0; });
}

}  // namespace

Clip clip_gradients(const core::ParamTable& table, parallel::Ctx& ctx, double max_norm) {
  const Tensor sum = ctx.state.take(DType::f64, {1});
  const Clip clip{ctx.state.take(DType::f64, {1}), ctx.state.take(DType::f64, {1})};
  launch(kernels::Fill{.x = sum, .value = 0}, ctx.stream);
  for (const core::GradientRun& run : table.gradient_runs()) {
    if (!counts_here(run, ctx.groups)) continue;
    launch(kernels::SumSquares{.x = table.flat().grad.slice(0, run.begin, run.size), .out = sum},
           ctx.stream);
  }
  ctx.groups.world().all_reduce_sum(sum, ctx.stream, "gradient norm");
  launch(
      kernels::ClipScale{
          .sum_squares = sum, .norm = clip.norm, .scale = clip.scale, .max_norm = max_norm},
      ctx.stream);
  return clip;
}

}  // namespace strait::optim
