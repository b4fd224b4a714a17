#include "layers/block.h"

#include "kernels/elementwise.h"
#include "kernels/profile.h"
#include "layers/attention/factory.h"

namespace strait::layers {

using config::Recompute;
using kernels::launch;

namespace {

std::string block_name(std::int64_t index) {
  return "layers." + std::to_string(index);
}

/// Runs a scope's forwards as repetitions of earlier ones.
class RecomputePass {
 public:
  explicit RecomputePass(Ctx& ctx) : ctx_(ctx), before_(ctx.pass) { ctx.pass = Pass::recompute; }
  ~RecomputePass() { ctx_.pass = before_; }
  RecomputePass(const RecomputePass&) = delete;
  RecomputePass& operator=(const RecomputePass&) = delete;

 private:
  Ctx& ctx_;
  Pass before_;
};

}  // namespace

Block::Block(const Build& build, std::int64_t index, Recompute recompute)
    : name_(block_name(index)),
      recompute_(recompute),
      attn_norm_(build, block_name(index) + ".attn_norm", build.model.d_model,
                 build.model.norm_eps),
      attn_(make_attention(build, block_name(index) + ".attn")),
      ffn_norm_(build, block_name(index) + ".ffn_norm", build.model.d_model, build.model.norm_eps) {
  const std::string name = block_name(index) + ".ffn";
  if (config::ffn_kind(build.model.ffn, index) == config::FfnKind::moe) {
    auto moe = std::make_unique<MoeFfn>(build, name);
    moe_ = moe.get();
    ffn_ = std::move(moe);
  } else {
    ffn_ = std::make_unique<DenseFfn>(build, name, build.model.ffn.d_ff);
  }
}

void Block::begin_step(Ctx& ctx) {
  attn_->begin_step(ctx);
  ffn_->begin_step(ctx);
}

void Block::end_step(Ctx& ctx) {
  attn_->end_step(ctx);
  ffn_->end_step(ctx);
}

Residual Block::forward(Ctx& ctx, const Residual& in, Tensor delta, Tensor carry) {
  const kernels::Range range(name_.c_str());
  const std::int64_t tokens = in.h.shape[0], width = in.h.shape[1];
  const DType stat = kernels::stat_dtype(delta.dtype);
  const bool forget =
      ctx.pass == Pass::eval || (recompute_ == Recompute::block && ctx.pass == Pass::train);
  const std::size_t before = ctx.saved.mark();
  saved_.x = in.delta.defined() ? ctx.saved.take(in.h.dtype, {tokens, width}) : in.h;
  const std::size_t after_input = ctx.saved.mark();
  saved_.x_normed = ctx.saved.take(delta.dtype, {tokens, width});
  saved_.x_rstd = ctx.saved.take(stat, {tokens});
  if (in.delta.defined()) {
    attn_norm_.forward_residual(ctx, in.h, in.delta, saved_.x, saved_.x_normed, saved_.x_rstd);
  } else {
    attn_norm_.forward(ctx, saved_.x, saved_.x_normed, saved_.x_rstd);
  }
  forward_inside(ctx, delta);
  if (!forget) return {saved_.h, delta};
  launch(kernels::Copy{.x = saved_.h, .y = carry}, ctx.stream);
  ctx.saved.release(ctx.pass == Pass::eval ? before : after_input);
  return {carry, delta};
}

void Block::forward_inside(Ctx& ctx, Tensor delta) {
  const core::Frame frame(ctx.scratch);
  const Tensor a = ctx.scratch.take(delta.dtype, {delta.shape[0], delta.shape[1]});
  attention_half(ctx, a);
  const std::size_t mark = ctx.saved.mark();
  ffn_half(ctx, delta);
  if (recompute_ == Recompute::ffn && ctx.pass == Pass::train) ctx.saved.release(mark);
}

void Block::attention_half(Ctx& ctx, Tensor a) {
  const kernels::Range range("attention");
  const std::int64_t tokens = a.shape[0], width = a.shape[1];
  saved_.h = ctx.saved.take(saved_.x.dtype, {tokens, width});
  saved_.h_normed = ctx.saved.take(a.dtype, {tokens, width});
  saved_.h_rstd = ctx.saved.take(kernels::stat_dtype(a.dtype), {tokens});
  attn_->forward(ctx, saved_.x_normed, a);
  ffn_norm_.forward_residual(ctx, saved_.x, a, saved_.h, saved_.h_normed, saved_.h_rstd);
}

void Block::ffn_half(Ctx& ctx, Tensor delta) {
  const kernels::Range range("feed-forward");
  ffn_->forward(ctx, saved_.h_normed, delta);
}

void Block::backward(Ctx& ctx, Tensor d) {
  const kernels::Range range(name_.c_str());
  const core::Frame scratch(ctx.scratch);
  const core::Frame saved(ctx.saved);
  if (recompute_ != Recompute::none) {
    const RecomputePass pass(ctx);
    const core::Frame frame(ctx.scratch);
    const Tensor unused = ctx.scratch.take(d.dtype, {d.shape[0], d.shape[1]});
    if (recompute_ == Recompute::ffn) {
      ffn_half(ctx, unused);
    } else {
      saved_.x_normed = ctx.saved.take(d.dtype, {d.shape[0], d.shape[1]});
      saved_.x_rstd = ctx.saved.take(kernels::stat_dtype(d.dtype), {d.shape[0]});
      attn_norm_.forward(ctx, saved_.x, saved_.x_normed, saved_.x_rstd);
      forward_inside(ctx, unused);
    }
  }
  backward_inside(ctx, d);
}

void Block::backward_inside(Ctx& ctx, Tensor d) {
  const Tensor dnormed = ctx.scratch.take(d.dtype, {d.shape[0], d.shape[1]});
  {
    const kernels::Range range("feed-forward backward");
    ffn_->backward(ctx, d, dnormed);
    ffn_norm_.backward_residual(ctx, dnormed, saved_.h, saved_.h_rstd, d);
  }
  const kernels::Range range("attention backward");
  attn_->backward(ctx, d, dnormed);
  attn_norm_.backward_residual(ctx, dnormed, saved_.x, saved_.x_rstd, d);
}

}  // namespace strait::layers
