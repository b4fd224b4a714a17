#include "model/transformer.h"

#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "parallel/grad_sync.h"
#include "parallel/tensor_split.h"

namespace strait::model {

using core::Frame;
using kernels::launch;
using layers::Ctx;
using layers::Pass;
using layers::Residual;
using parallel::Phase;

Transformer::Transformer(const layers::Build& build, config::Recompute recompute)
    : width_(build.model.d_model),
      vocab_begin_(build.model.vocab_size * build.mesh.tp_rank / build.mesh.tp),
      dtype_(build.dtype()),
      residual_dtype_(build.residual_dtype()),
      embedding_(build.table.add({.name = "embed.weight",
                                  .shape = {build.model.vocab_size, build.model.d_model},
                                  .shard = build.over_vocabulary(),
                                  .init = core::Init::normal(build.model.init_std),
                                  .decay = true,
                                  .whole_grad = build.model.tie_embeddings})),
      input_scale_(build.model.residual_scale
                       ? std::optional(layers::ResidualScale(build, "embed_residual", false))
                       : std::nullopt),
      blocks_([&] {
        std::vector<std::unique_ptr<layers::Block>> blocks;
        for (std::int64_t i = 0; i < build.model.n_layers; ++i) {
          build.table.begin_stage();
          blocks.push_back(std::make_unique<layers::Block>(build, i, recompute));
        }
        build.table.begin_stage();
        return blocks;
      }()),
      final_norm_(build, "final_norm", build.model.d_model, build.model.norm_eps),
      head_(build, embedding_) {
  if (!build.model.ffn.moe.router.depth_average) return;
  depth_states_ = config::mixtures_before(build.model.ffn, build.model.n_layers);
  depth_width_ = build.model.ffn.moe.router.width;
}

void Transformer::begin_step(Ctx& ctx) {
  ctx.state.release(0);
  loss_ = {.sum = ctx.state.take(DType::f64, {1})};
  launch(kernels::Fill{.x = loss_.sum, .value = 0}, ctx.stream);
  for (auto& block : blocks_) block->begin_step(ctx);
}

void Transformer::end_step(Ctx& ctx) {
  for (auto& block : blocks_) block->end_step(ctx);
}

/// y = rows of the table; every tensor rank has some of them, zeros stand for the rest.
void Transformer::look_up(Ctx& ctx, Tensor y) const {
  const Frame frame(ctx.scratch);
  const Tensor terms = parallel::terms_of(ctx, y);
  launch(
      kernels::EmbeddingFwd{
          .ids = ctx.tokens->ids, .w = embedding_.weight, .y = terms, .vocab_begin = vocab_begin_},
      ctx.stream);
  parallel::summed_rows(ctx, terms, y);
}

void Transformer::embed(Ctx& ctx, Tensor h) const {
  const Frame frame(ctx.scratch);
  const bool same = h.dtype == dtype_ && !input_scale_;
  const Tensor y = same ? h : ctx.scratch.take(dtype_, {h.shape[0], h.shape[1]});
  look_up(ctx, y);
  if (input_scale_) return input_scale_->forward_branch(ctx, y, h);
  if (!same) launch(kernels::Copy{.x = y, .y = h}, ctx.stream);
}

void Transformer::embed_backward(Ctx& ctx, Tensor d) const {
  const Frame frame(ctx.scratch);
  if (input_scale_) {
    // Reading the table again is cheaper than keeping what was read.
    const Tensor y = ctx.scratch.take(dtype_, {d.shape[0], d.shape[1]});
    look_up(ctx, y);
    input_scale_->backward_branch(ctx, y, d);
  }
  launch(kernels::EmbeddingBwd{.ids = ctx.tokens->ids,
                               .dy = parallel::whole_rows(ctx, d),
                               .dw = embedding_.grad,
                               .vocab_begin = vocab_begin_},
         ctx.stream);
}

void Transformer::take_depth_states(Ctx& ctx) const {
  ctx.depth = {};
  if (depth_states_ == 0) return;
  ctx.depth.states = ctx.saved.take(kernels::stat_dtype(dtype_),
                                    {depth_states_, ctx.tokens->rows(), depth_width_});
}

Tensor Transformer::forward(Ctx& ctx) {
  const Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->rows();
  const Tensor delta = ctx.scratch.take(dtype_, {tokens, width_});
  const Tensor carry = ctx.scratch.take(residual_dtype_, {tokens, width_});
  Residual stream{.h = ctx.saved.take(residual_dtype_, {tokens, width_}), .delta = {}};
  int stage = 0;
  parallel::await_weights(ctx, stage);
  embed(ctx, stream.h);
  take_depth_states(ctx);
  for (auto& block : blocks_) {
    parallel::await_weights(ctx, ++stage);
    stream = block->forward(ctx, stream, delta, carry);
  }
  parallel::await_weights(ctx, ++stage);
  saved_.rstd = ctx.saved.take(kernels::stat_dtype(dtype_), {tokens});
  const Tensor y = ctx.saved.take(dtype_, {tokens, width_});
  saved_.sum = ctx.saved.take(residual_dtype_, {tokens, width_});
  final_norm_.forward_residual(ctx, stream, saved_.sum, y, saved_.rstd);
  return y;
}

void Transformer::backward(Ctx& ctx, Tensor d) {
  if (depth_states_ > 0) {
    ctx.depth.gradient = ctx.scratch.take(kernels::stat_dtype(dtype_), {d.shape[0], depth_width_});
    launch(kernels::Fill{.x = ctx.depth.gradient, .value = 0}, ctx.stream);
  }
  int stage = static_cast<int>(blocks_.size()) + 1;
  parallel::stage_done(ctx, stage);
  for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
    (*block)->backward(ctx, d);
    parallel::stage_done(ctx, --stage);
  }
  embed_backward(ctx, d);
  parallel::stage_done(ctx, 0);
}

void Transformer::forward_backward(Ctx& ctx) {
  const Frame saved(ctx.saved), scratch(ctx.scratch);
  ctx.pass = Pass::train;
  const Tensor y = forward(ctx);
  ctx.clock.lap(Phase::forward, ctx.stream);
  const Tensor dy = ctx.scratch.take(dtype_, {y.shape[0], width_});
  const Tensor d = ctx.scratch.take(dtype_, {y.shape[0], width_});
  head_.loss_and_gradient(ctx, y, loss_, dy);
  ctx.clock.lap(Phase::head, ctx.stream);
  final_norm_.backward(ctx, dy, saved_.sum, saved_.rstd, d);
  backward(ctx, d);
  ctx.clock.lap(Phase::backward, ctx.stream);
}

void Transformer::evaluate(Ctx& ctx, Tensor per_token) {
  const Frame saved(ctx.saved);
  ctx.pass = Pass::eval;
  const Tensor y = forward(ctx);
  head_.loss(ctx, y, {.sum = loss_.sum, .per_token = per_token});
}

void Transformer::logits(Ctx& ctx, std::int64_t first, Tensor logits) {
  const Frame saved(ctx.saved);
  ctx.pass = Pass::eval;
  head_.logits(ctx, forward(ctx).slice(0, first, logits.shape[0]), logits);
}

std::vector<layers::RouterTotals> Transformer::router_totals() const {
  std::vector<layers::RouterTotals> totals;
  for (const auto& block : blocks_) {
    if (block->moe()) totals.push_back(block->moe()->router_totals());
  }
  return totals;
}

}  // namespace strait::model
