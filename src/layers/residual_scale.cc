#include "layers/residual_scale.h"

#include "kernels/residual_scale.h"

namespace strait::layers {

using kernels::launch;

ResidualScale::ResidualScale(const Build& build, const std::string& name, bool sum)
    : branch_(add_vectors(build, name + ".branch")) {
  if (sum) stream_ = add_vectors(build, name + ".stream");
}

ResidualScale::Vectors ResidualScale::add_vectors(const Build& build, const std::string& name) {
  const auto add = [&](const char* which, double value) {
    return &build.table.add({.name = name + which,
                             .shape = {build.model.d_model},
                             .init = core::Init::constant(value)});
  };
  return {.scale = add("_scale", 1.0), .bias = add("_bias", 0.0)};
}

kernels::SumScales ResidualScale::of_sum() const {
  return {.x_scale = stream_.scale->weight,
          .x_bias = stream_.bias->weight,
          .delta_scale = branch_.scale->weight,
          .delta_bias = branch_.bias->weight};
}

void ResidualScale::forward_branch(Ctx& ctx, ConstTensor delta, Tensor y) const {
  launch(kernels::ResidualScaleFwd{.delta = delta,
                                   .delta_scale = branch_.scale->weight,
                                   .delta_bias = branch_.bias->weight,
                                   .y = y},
         ctx.stream);
}

void ResidualScale::backward(Ctx& ctx, ConstTensor x, ConstTensor delta, Tensor d,
                             Tensor ddelta) const {
  launch(kernels::ResidualScaleBwd{.dy = d,
                                   .x = x,
                                   .x_scale = stream_.scale->weight,
                                   .x_bias = stream_.bias->weight,
                                   .delta = delta,
                                   .delta_scale = branch_.scale->weight,
                                   .delta_bias = branch_.bias->weight,
                                   .dx = d,
                                   .ddelta = ddelta,
                                   .dx_scale = stream_.scale->grad,
                                   .dx_bias = stream_.bias->grad,
                                   .ddelta_scale = branch_.scale->grad,
                                   .ddelta_bias = branch_.bias->grad},
         ctx.stream);
}

void ResidualScale::backward_branch(Ctx& ctx, ConstTensor delta, Tensor d) const {
  launch(kernels::ResidualScaleBwd{.dy = d,
                                   .delta = delta,
                                   .delta_scale = branch_.scale->weight,
                                   .delta_bias = branch_.bias->weight,
                                   .ddelta = d,
                                   .ddelta_scale = branch_.scale->grad,
                                   .ddelta_bias = branch_.bias->grad},
         ctx.stream);
}

}  // namespace strait::layers
