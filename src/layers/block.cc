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
    : Block({.model = build.model,
             .mesh = build.mesh,
             .table = build.table,
             .wide_residual = build.wide_residual,
             .layer = index},
            recompute) {}

Block::Block(const Build& build, Recompute recompute)
    : name_(block_name(build.layer)),
      recompute_(recompute),
      attn_norm_(build, name_ + ".attn_norm", build.model.d_model, build.model.norm_eps),
      attn_(make_attention(build, name_ + ".attn")),
      ffn_norm_(build, name_ + ".ffn_norm", build.model.d_model, build.model.norm_eps) {
  const std::string name = name_ + ".ffn";
  if (config::ffn_kind(build.model.ffn, build.layer) == config::FfnKind::moe) {
    auto moe = std::make_unique<MoeFfn>(build, name);
    moe_ = moe.get();
    ffn_ = std::move(moe);
  } else {
    ffn_ = std::make_unique<DenseFfn>(build, name, build.model.ffn.d_ff);
  }
  if (build.model.residual_scale) {
    scales_.emplace(Scales{ResidualScale(build, name_ + ".attn_residual", true),
                           ResidualScale(build, name_ + ".ffn_residual", true)});
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
  saved_.x = in.is_sum() ? ctx.saved.take(in.h.dtype, {tokens, width}) : in.h;
  const std::size_t after_input = ctx.saved.mark();
  saved_.x_normed = ctx.saved.take(delta.dtype, {tokens, width});
  saved_.x_rstd = ctx.saved.take(stat, {tokens});
  if (in.is_sum()) {
    attn_norm_.forward_residual(ctx, in, saved_.x, saved_.x_normed, saved_.x_rstd);
  } else {
    attn_norm_.forward(ctx, saved_.x, saved_.x_normed, saved_.x_rstd);
  }
  Residual out = forward_inside(ctx, delta);
  if (!forget) return out;
  launch(kernels::Copy{.x = out.h, .y = carry}, ctx.stream);
  ctx.saved.release(ctx.pass == Pass::eval ? before : after_input);
  out.h = carry;
  return out;
}

Residual Block::forward_inside(Ctx& ctx, Tensor delta) {
  const core::Frame frame(ctx.scratch);
  core::Arena& arena = scales_ ? ctx.saved : ctx.scratch;
  const Tensor a = arena.take(delta.dtype, {delta.shape[0], delta.shape[1]});
  attention_half(ctx, a);
  const std::size_t mark = ctx.saved.mark();
  const bool kept =
      ctx.pass == Pass::recompute || (ctx.pass == Pass::train && recompute_ == Recompute::none);
  if (scales_ && kept) delta = ctx.saved.take(delta.dtype, {delta.shape[0], delta.shape[1]});
  const Residual out = ffn_half(ctx, delta);
  if (recompute_ == Recompute::ffn && ctx.pass == Pass::train) ctx.saved.release(mark);
  return out;
}

void Block::attention_half(Ctx& ctx, Tensor a) {
  const kernels::Range range("attention");
  const std::int64_t tokens = a.shape[0], width = a.shape[1];
  saved_.h = ctx.saved.take(saved_.x.dtype, {tokens, width});
  saved_.h_normed = ctx.saved.take(a.dtype, {tokens, width});
  saved_.h_rstd = ctx.saved.take(kernels::stat_dtype(a.dtype), {tokens});
  attn_->forward(ctx, saved_.x_normed, a);
  saved_.a = a;
  Residual terms{.h = saved_.x, .delta = a};
  if (scales_) terms.scales = scales_->attn.of_sum();
  ffn_norm_.forward_residual(ctx, terms, saved_.h, saved_.h_normed, saved_.h_rstd);
}

Residual Block::ffn_half(Ctx& ctx, Tensor delta) {
  const kernels::Range range("feed-forward");
  saved_.delta = delta;
  Residual out{.h = saved_.h, .delta = delta};
  if (scales_) out.scales = scales_->ffn.of_sum();
  // The experts' rows can wait for the next norm where they outlive this block's forward.
  const bool rows_stay = ctx.pass == Pass::train && recompute_ == Recompute::none && !scales_;
  if (moe_ && rows_stay && moe_->leaves_rows()) {
    out.experts = moe_->forward_rows(ctx, saved_.h_normed, delta);
    if (!moe_->has_shared()) out.delta = {};
  } else {
    ffn_->forward(ctx, saved_.h_normed, delta);
  }
  return out;
}

void Block::backward(Ctx& ctx, Tensor d) {
  const kernels::Range range(name_.c_str());
  const core::Frame scratch(ctx.scratch);
  const core::Frame saved(ctx.saved);
  if (recompute_ != Recompute::none) {
    const RecomputePass pass(ctx);
    const core::Frame frame(ctx.scratch);
    const bool keep = scales_ && recompute_ == Recompute::ffn;
    const Tensor delta = (keep ? ctx.saved : ctx.scratch).take(d.dtype, {d.shape[0], d.shape[1]});
    if (recompute_ == Recompute::ffn) {
      ffn_half(ctx, delta);
    } else {
      saved_.x_normed = ctx.saved.take(d.dtype, {d.shape[0], d.shape[1]});
      saved_.x_rstd = ctx.saved.take(kernels::stat_dtype(d.dtype), {d.shape[0]});
      attn_norm_.forward(ctx, saved_.x, saved_.x_normed, saved_.x_rstd);
      forward_inside(ctx, delta);
    }
  }
  backward_inside(ctx, d);
}

void Block::backward_inside(Ctx& ctx, Tensor d) {
  const auto like_d = [&] { return ctx.scratch.take(d.dtype, {d.shape[0], d.shape[1]}); };
  const Tensor dnormed = like_d();
  const Tensor dbranch = scales_ ? like_d() : d;
  {
    const kernels::Range range("feed-forward backward");
    if (scales_) scales_->ffn.backward(ctx, saved_.h, saved_.delta, d, dbranch);
    ffn_->backward(ctx, dbranch, dnormed);
    ffn_norm_.backward_residual(ctx, dnormed, saved_.h, saved_.h_rstd, d);
  }
  const kernels::Range range("attention backward");
  if (scales_) scales_->attn.backward(ctx, saved_.x, saved_.a, d, dbranch);
  attn_->backward(ctx, dbranch, dnormed);
  attn_norm_.backward_residual(ctx, dnormed, saved_.x, saved_.x_rstd, d);
}

}  // namespace strait::layers
