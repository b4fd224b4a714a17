#include "layers/moe/router.h"

#include "kernels/elementwise.h"

namespace strait::layers {
namespace {

using kernels::launch;

kernels::RouterRule rule_of(const config::Moe& moe) {
  return {.score = moe.score == config::RouterScore::softmax ? kernels::RouterScore::softmax
                                                             : kernels::RouterScore::sigmoid,
          .renormalise = moe.renormalise,
          .groups = moe.groups,
          .top_groups = moe.top_groups,
          .scale = moe.scale};
}

/// x itself where the model computes in its statistics dtype, else a copy in scratch memory.
ConstTensor widened(Ctx& ctx, ConstTensor x) {
  const DType stat = kernels::stat_dtype(x.dtype);
  if (x.dtype == stat) return x;
  const Tensor wide = ctx.scratch.take(stat, {x.shape[0], x.shape[1]});
  launch(kernels::Copy{.x = x, .y = wide}, ctx.stream);
  return wide;
}

}  // namespace

Router::Router(const Build& build, const std::string& name)
    : config_(build.model.ffn.moe),
      rule_(rule_of(config_)),
      gate_(build, {.name = name,
                    .in = build.model.d_model,
                    .out = config_.n_experts,
                    .std = build.model.init_std,
                    .wide = true}) {
  if (config_.selection_bias) {
    bias_ = &build.table.add({.name = name + ".bias",
                              .shape = {config_.n_experts},
                              .init = core::Init::constant(0.0),
                              .trainable = false});
  }
}

void Router::begin_step(Ctx& ctx) {
  totals_ = {ctx.state.take(DType::i64, {config_.n_experts}), ctx.state.take(DType::f64, {1}),
             ctx.state.take(DType::f64, {1})};
  for (const Tensor& total : {totals_.counts, totals_.aux, totals_.z}) {
    launch(kernels::Fill{.x = total, .value = 0}, ctx.stream);
  }
}

Routing Router::forward(Ctx& ctx, ConstTensor x) {
  const std::int64_t tokens = x.shape[0], experts = config_.n_experts;
  const DType stat = kernels::stat_dtype(x.dtype);
  saved_ = {.x = x,
            .logits = ctx.saved.take(stat, {tokens, experts}),
            .scores = ctx.saved.take(stat, {tokens, experts}),
            .expert = ctx.saved.take(DType::i32, {tokens, config_.top_k}),
            .fraction = ctx.saved.take(stat, {ctx.tokens->sequences, experts})};
  const Routing routing{saved_.expert, ctx.saved.take(stat, {tokens, config_.top_k})};
  const core::Frame frame(ctx.scratch);
  // A recomputed forward must not count its tokens a second time.
  const Tensor counts =
      ctx.pass == Pass::recompute ? ctx.scratch.take(DType::i64, {experts}) : totals_.counts;
  if (ctx.pass == Pass::recompute) launch(kernels::Fill{.x = counts, .value = 0}, ctx.stream);
  gate_.forward(ctx, widened(ctx, x), saved_.logits);
  launch(kernels::RouteFwd{.logits = saved_.logits,
                           .bias = bias_ ? bias_->weight : Tensor{},
                           .scores = saved_.scores,
                           .expert = routing.expert,
                           .weight = routing.weight,
                           .counts = counts,
                           .rule = rule_},
         ctx.stream);
  balance_losses(ctx);
  return routing;
}

void Router::balance_losses(Ctx& ctx) {
  const core::Frame frame(ctx.scratch);
  RouterTotals totals = totals_;
  if (ctx.pass == Pass::recompute) {
    totals.aux = ctx.scratch.take(DType::f64, {1});
    totals.z = ctx.scratch.take(DType::f64, {1});
    launch(kernels::Fill{.x = totals.aux, .value = 0}, ctx.stream);
    launch(kernels::Fill{.x = totals.z, .value = 0}, ctx.stream);
  }
  launch(kernels::RouteLosses{.logits = saved_.logits,
                              .scores = saved_.scores,
                              .expert = saved_.expert,
                              .fraction = saved_.fraction,
                              .aux = totals.aux,
                              .z = totals.z},
         ctx.stream);
}

void Router::backward(Ctx& ctx, ConstTensor dweight, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const Tensor dlogits = ctx.scratch.take(saved_.logits.dtype, {dx.shape[0], config_.n_experts});
  launch(kernels::RouteBwd{.dweight = dweight,
                           .logits = saved_.logits,
                           .scores = saved_.scores,
                           .expert = saved_.expert,
                           .fraction = saved_.fraction,
                           .dlogits = dlogits,
                           .rule = rule_,
                           .aux_coef = config_.aux_coef * ctx.scale.per_sequence,
                           .z_coef = config_.z_coef,
                           .z_scale = ctx.scale.per_token},
         ctx.stream);
  if (dlogits.dtype == dx.dtype) return gate_.backward(ctx, saved_.x, dlogits, dx);
  // The weight's gradient may be in the compute dtype, as the input is.
  const Tensor rounded = ctx.scratch.take(dx.dtype, {dlogits.shape[0], dlogits.shape[1]});
  launch(kernels::Copy{.x = dlogits, .y = rounded}, ctx.stream);
  gate_.weight_gradient(ctx, saved_.x, rounded);
  const Tensor wide = ctx.scratch.take(dlogits.dtype, {dx.shape[0], dx.shape[1]});
  gate_.input_gradient(ctx, dlogits, wide);
  launch(kernels::Copy{.x = wide, .y = dx}, ctx.stream);
}

void Router::end_step(Ctx& ctx) {
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
    auto& group = ctx.groups.axis(axis);
    group.all_reduce_sum(totals_.counts, ctx.stream);
    group.all_reduce_sum(totals_.aux, ctx.stream);
    group.all_reduce_sum(totals_.z, ctx.stream);
  }
  if (!bias_ || config_.bias_rate == 0) return;
  launch(
      kernels::RouterBiasUpdate{
          .counts = totals_.counts, .bias = bias_->weight, .rate = config_.bias_rate},
      ctx.stream);
}

}  // namespace strait::layers
