#include "layers/moe/mlp_scorer.h"

#include "kernels/activation.h"
#include "kernels/depth_average.h"

namespace strait::layers {
namespace {

using kernels::launch;

core::Param& add_vector(const Build& build, const std::string& name, double value) {
  return build.table.add({.name = name,
                          .shape = {build.model.ffn.moe.router.width},
                          .init = core::Init::constant(value),
                          .wide = true});
}

LinearSpec inner_spec(const Build& build, const std::string& name, std::int64_t out) {
  return {.name = name,
          .in = build.model.ffn.moe.router.width,
          .out = out,
          .std = build.model.init_std,
          .wide = true};
}

}  // namespace

MlpScorer::Hidden MlpScorer::make_hidden(const Build& build, const std::string& name) {
  return {.linear = Linear(build, inner_spec(build, name, build.model.ffn.moe.router.width)),
          .bias = add_vector(build, name + ".bias", 0.0),
          .product = {},
          .y = {}};
}

MlpScorer::MlpScorer(const Build& build, const std::string& name, std::int64_t classes)
    : width_(build.model.ffn.moe.router.width),
      averages_(build.model.ffn.moe.router.depth_average),
      index_(config::mixtures_before(build.model.ffn, build.layer)),
      down_(build, {.name = name + ".down",
                    .in = build.model.d_model,
                    .out = width_,
                    .std = build.model.init_std}),
      down_bias_(add_vector(build, name + ".down.bias", 0.0)),
      gamma_(averages_ && index_ > 0 ? &add_vector(build, name + ".gamma", 1.0) : nullptr),
      norm_(build, name + ".norm", width_, build.model.norm_eps, true),
      fc1_(make_hidden(build, name + ".fc1")),
      fc2_(make_hidden(build, name + ".fc2")),
      out_(build, inner_spec(build, name + ".out", classes)) {}

Tensor MlpScorer::before(const Ctx& ctx) const {
  return gamma_ ? ctx.depth.state(index_ - 1) : Tensor{};
}

void MlpScorer::forward(Ctx& ctx, Hidden& layer, ConstTensor x) const {
  const std::int64_t tokens = x.shape[0];
  layer.product = ctx.saved.take(x.dtype, {tokens, width_});
  layer.y = ctx.saved.take(x.dtype, {tokens, width_});
  layer.linear.forward(ctx, x, layer.product);
  launch(kernels::GeluFwd{.x = layer.product, .bias = layer.bias.weight, .y = layer.y}, ctx.stream);
}

void MlpScorer::backward(Ctx& ctx, const Hidden& layer, ConstTensor x, Tensor dy, Tensor dx) const {
  launch(kernels::GeluBwd{.dy = dy,
                          .x = layer.product,
                          .bias = layer.bias.weight,
                          .dx = dy,
                          .dbias = layer.bias.grad},
         ctx.stream);
  layer.linear.backward(ctx, x, dy, dx);
}

void MlpScorer::forward(Ctx& ctx, ConstTensor x, Tensor logits) {
  const std::int64_t tokens = x.shape[0];
  const DType stat = logits.dtype;
  saved_.x = x;
  saved_.state = averages_ ? ctx.depth.state(index_) : ctx.saved.take(stat, {tokens, width_});
  saved_.normed = ctx.saved.take(stat, {tokens, width_});
  saved_.rstd = ctx.saved.take(stat, {tokens});
  down_.forward(ctx, x, saved_.state);
  launch(kernels::DepthAverageFwd{.x = saved_.state,
                                  .bias = down_bias_.weight,
                                  .previous = before(ctx),
                                  .gamma = gamma_ ? gamma_->weight : Tensor{},
                                  .y = saved_.state},
         ctx.stream);
  norm_.forward(ctx, saved_.state, saved_.normed, saved_.rstd);
  forward(ctx, fc1_, saved_.normed);
  forward(ctx, fc2_, fc1_.y);
  out_.forward(ctx, fc2_.y, logits);
}

void MlpScorer::backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const auto take = [&] { return ctx.scratch.take(dlogits.dtype, {dlogits.shape[0], width_}); };
  const Tensor outer = take(), inner = take();
  out_.backward(ctx, fc2_.y, dlogits, outer);
  backward(ctx, fc2_, fc1_.y, outer, inner);
  backward(ctx, fc1_, saved_.normed, inner, outer);
  const Tensor d = averages_ ? ctx.depth.gradient : inner;
  if (averages_) {
    norm_.backward_residual(ctx, outer, saved_.state, saved_.rstd, d);
  } else {
    norm_.backward(ctx, outer, saved_.state, saved_.rstd, d);
  }
  down_.backward(ctx, saved_.x, d, dx);
  launch(kernels::DepthAverageBwd{.dy = d,
                                  .previous = before(ctx),
                                  .gamma = gamma_ ? gamma_->weight : Tensor{},
                                  .dprevious = gamma_ ? d : Tensor{},
                                  .dbias = down_bias_.grad,
                                  .dgamma = gamma_ ? gamma_->grad : Tensor{}},
         ctx.stream);
}

}  // namespace strait::layers
