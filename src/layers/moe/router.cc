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
          .scale = moe.scale,
          .forced = moe.forced_balance ? moe.n_experts : 0};
}

}  // namespace

Router::Router(const Build& build, const std::string& name)
    : config_(build.model.ffn.moe),
      rule_(rule_of(config_)),
      scorer_(make_scorer(build, name, classes())),
      linear_(dynamic_cast<LinearScorer*>(scorer_.get())) {
  if (config_.selection_bias) {
    bias_ = &build.table.add({.name = name + ".bias",
                              .shape = {config_.n_experts},
                              .init = core::Init::constant(0.0),
                              .trainable = false});
  }
  if (bias_ && config_.bias_rule == config::BiasRule::adamw) {
    bias_state_ = &build.table.add({.name = name + ".bias_state",
                                    .shape = {2 * config_.n_experts + 1},
                                    .init = core::Init::constant(0.0),
                                    .trainable = false,
                                    .exported = false});
  }
}

void Router::begin_step(Ctx& ctx) {
  class_counts_ = ctx.state.take(DType::i64, {classes()});
  totals_ = {class_counts_.slice(0, 0, config_.n_experts), ctx.state.take(DType::f64, {1}),
             ctx.state.take(DType::f64, {1})};
  for (const Tensor& total : {class_counts_, totals_.aux, totals_.z}) {
    launch(kernels::Fill{.x = total, .value = 0}, ctx.stream);
  }
  prepare_bias(ctx);
}

void Router::prepare_bias(Ctx& ctx) {
  choice_bias_ = bias_ ? bias_->weight : Tensor{};
  if (!config_.skip) return;
  const std::int64_t experts = config_.n_experts;
  choice_bias_ = ctx.state.take(bias_->weight.dtype, {classes()});
  launch(kernels::Copy{.x = bias_->weight, .y = choice_bias_.slice(0, 0, experts)}, ctx.stream);
  launch(kernels::Fill{.x = choice_bias_.slice(0, experts, 1), .value = kSkipBias}, ctx.stream);
}

Routing Router::forward(Ctx& ctx, ConstTensor x) {
  const std::int64_t tokens = x.shape[0], experts = classes();
  const DType stat = kernels::stat_dtype(x.dtype);
  saved_ = {.logits = ctx.saved.take(stat, {tokens, experts}),
            .scores = ctx.saved.take(stat, {tokens, experts}),
            .expert = ctx.saved.take(DType::i32, {tokens, config_.top_k}),
            .fraction = ctx.saved.take(stat, {ctx.tokens->sequences, experts})};
  const Routing routing{saved_.expert, ctx.saved.take(stat, {tokens, config_.top_k})};
  const core::Frame frame(ctx.scratch);
  // A recomputed forward must not count its tokens a second time.
  const Tensor counts =
      ctx.pass == Pass::recompute ? ctx.scratch.take(DType::i64, {experts}) : class_counts_;
  if (ctx.pass == Pass::recompute) launch(kernels::Fill{.x = counts, .value = 0}, ctx.stream);
  kernels::WideLinearFwd product;
  if (linear_) {
    product = linear_->product(ctx, x, saved_.logits);
  } else {
    scorer_->forward(ctx, x, saved_.logits);
  }
  launch(kernels::RouteFwd{.logits = saved_.logits,
                           .bias = choice_bias_,
                           .scores = saved_.scores,
                           .expert = routing.expert,
                           .weight = routing.weight,
                           .counts = counts,
                           .sequence = ctx.tokens->sequence,
                           .place = ctx.tokens->place,
                           .length = ctx.tokens->length,
                           .product = product,
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
  launch(kernels::RouteFraction{.expert = saved_.expert,
                                .sequence = ctx.tokens->sequence,
                                .fraction = saved_.fraction,
                                .length = ctx.tokens->length},
         ctx.stream);
  for (const core::Axis axis : {core::Axis::cp, core::Axis::tp}) {
    ctx.groups.axis(axis).all_reduce_sum(saved_.fraction, ctx.stream, "balance");
  }
  launch(kernels::RouteLosses{.logits = saved_.logits,
                              .scores = saved_.scores,
                              .fraction = saved_.fraction,
                              .sequence = ctx.tokens->sequence,
                              .aux = totals.aux,
                              .z = totals.z,
                              .length = ctx.tokens->length},
         ctx.stream);
}

/// Fills in what the forward kept and the config says.
void Router::route_backward(Ctx& ctx, kernels::RouteBwd op) const {
  op.logits = saved_.logits;
  op.scores = saved_.scores;
  op.expert = saved_.expert;
  op.fraction = saved_.fraction;
  op.sequence = ctx.tokens->sequence;
  op.length = ctx.tokens->length;
  op.rule = rule_;
  op.aux_coef = config_.aux_coef * ctx.scale.per_sequence;
  op.z_coef = config_.z_coef;
  op.z_scale = ctx.scale.per_token;
  launch(op, ctx.stream);
}

void Router::backward(Ctx& ctx, ConstTensor dweight, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const Tensor dlogits = ctx.scratch.take(saved_.logits.dtype, {dx.shape[0], classes()});
  kernels::RouteBwd op;
  op.dweight = dweight;
  op.dlogits = dlogits;
  route_backward(ctx, op);
  scorer_->backward(ctx, dlogits, dx);
}

Router::InputTerm Router::backward_term(Ctx& ctx, ConstTensor dweight, ConstTensor row_of) {
  const std::int64_t tokens = dweight.shape[0];
  const ConstTensor matrix = linear_->parts();
  kernels::RouteBwd op;
  op.parts = ctx.scratch.take(matrix.dtype, {tokens, matrix.shape[0]});
  const core::Frame frame(ctx.scratch);
  op.dweight = dweight;
  op.row_of = row_of;
  op.dlogits = ctx.scratch.take(saved_.logits.dtype, {tokens, classes()});
  route_backward(ctx, op);
  linear_->weight_gradient(ctx, op.dlogits);
  return {op.parts, matrix};
}

void Router::end_step(Ctx& ctx) {
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp, core::Axis::tp}) {
    auto& group = ctx.groups.axis(axis);
    for (const Tensor& total : {class_counts_, totals_.aux, totals_.z}) {
      group.all_reduce_sum(total, ctx.stream, "balance totals");
    }
  }
  if (bias_ && config_.bias_rate != 0) update_bias(ctx);
}

void Router::update_bias(Ctx& ctx) {
  if (!bias_state_) {
    launch(
        kernels::RouterBiasUpdate{
            .counts = totals_.counts, .bias = bias_->weight, .rate = config_.bias_rate},
        ctx.stream);
    return;
  }
  const std::int64_t experts = config_.n_experts;
  launch(kernels::RouterBiasAdamW{.counts = totals_.counts,
                                  .bias = bias_->weight,
                                  .m = bias_state_->weight.slice(0, 0, experts),
                                  .v = bias_state_->weight.slice(0, experts, experts),
                                  .steps = bias_state_->weight.slice(0, 2 * experts, 1),
                                  .rate = config_.bias_rate},
         ctx.stream);
}

}  // namespace strait::layers
