#include "layers/attention/gqa.h"

#include "layers/attention/rope.h"
#include "parallel/tensor_split.h"

namespace strait::layers {

using kernels::launch;

namespace {

LinearSpec qkv_spec(const Build& build, const std::string& name) {
  const config::Attention& a = build.model.attention;
  const std::int64_t q = a.n_heads * a.head_dim, kv = a.n_kv_heads * a.head_dim;
  return {.name = name + ".qkv",
          .in = build.model.d_model,
          .out = q + 2 * kv,
          .sections = {{name + ".q.weight", q}, {name + ".k.weight", kv}, {name + ".v.weight", kv}},
          .shard = build.over_tensor(0),
          .std = build.model.init_std};
}

}  // namespace

GqaAttention::GqaAttention(const Build& build, const std::string& name)
    : head_dim_(build.model.attention.head_dim),
      qk_norm_(build.model.attention.qk_norm),
      eps_(build.model.norm_eps),
      rope_(make_rope(build)),
      qkv_(build, qkv_spec(build, name)),
      o_(build, {.name = name + ".o",
                 .in = build.model.attention.n_heads * head_dim_,
                 .out = build.model.d_model,
                 .shard = build.over_tensor(1),
                 .std = build.output_std()}),
      core_({.heads = build.model.attention.n_heads / build.mesh.tp,
             .kv_heads = build.model.attention.n_kv_heads / build.mesh.tp,
             .key_dim = head_dim_,
             .value_dim = head_dim_,
             .slides = build.slides(),
             .layer = build.layer}) {
  const std::int64_t heads = core_.dims().heads, kv = core_.dims().kv_heads;
  q_ = make_side(build, name + ".q_norm", 0, heads);
  k_ = make_side(build, name + ".k_norm", heads * head_dim_, kv);
  v_ = {.begin = (heads + kv) * head_dim_, .heads = kv};
}

GqaAttention::Side GqaAttention::make_side(const Build& build, const std::string& name,
                                           std::int64_t begin, std::int64_t heads) const {
  Side side{.begin = begin, .heads = heads};
  if (qk_norm_) {
    side.norm = &build.table.add(
        {.name = name + ".weight", .shape = {head_dim_}, .init = core::Init::constant(1.0)});
  }
  return side;
}

Tensor GqaAttention::heads_of(Tensor qkv, std::int64_t begin, std::int64_t heads) const {
  return qkv.slice(1, begin, heads * head_dim_).split_last(heads, head_dim_);
}

GqaAttention::SideSaved GqaAttention::norm_rope(Ctx& ctx, const Side& side, Tensor qkv) const {
  const std::int64_t tokens = qkv.shape[0];
  SideSaved saved;
  saved.raw = saved.out = heads_of(qkv, side.begin, side.heads);
  if (side.norm) {  // the raw heads stay for the norm's backward
    saved.out = ctx.saved.take(qkv.dtype, {tokens, side.heads, head_dim_});
    saved.rstd = ctx.saved.take(kernels::stat_dtype(qkv.dtype), {tokens, side.heads});
  }
  const kernels::QkNormRopeFwd op{.x = saved.raw,
                                  .w = side.norm ? side.norm->weight : Tensor{},
                                  .positions = ctx.tokens->positions,
                                  .y = saved.out,
                                  .rstd = saved.rstd,
                                  .rope = rope_,
                                  .eps = eps_};
  launch(op, ctx.stream);
  return saved;
}

void GqaAttention::norm_rope_backward(Ctx& ctx, const Side& side, const SideSaved& saved,
                                      Tensor d) const {
  kernels::QkNormRopeBwd op{.dy = d, .positions = ctx.tokens->positions, .dx = d, .rope = rope_};
  if (side.norm) {
    op.x = saved.raw;
    op.w = side.norm->weight;
    op.rstd = saved.rstd;
    op.dw = side.norm->grad;
  }
  launch(op, ctx.stream);
}

void GqaAttention::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->tokens();
  saved_.x = x;
  const Tensor qkv = ctx.saved.take(x.dtype, {tokens, qkv_.out()});
  qkv_.forward_of_rows(ctx, x, qkv);
  if (qk_norm_) {
    saved_.q = norm_rope(ctx, q_, qkv);
    saved_.k = norm_rope(ctx, k_, qkv);
  } else {  // turned alike, and neighbours
    const Tensor both = norm_rope(ctx, {.begin = 0, .heads = q_.heads + k_.heads}, qkv).out;
    saved_.q.out = both.slice(1, 0, q_.heads);
    saved_.k.out = both.slice(1, q_.heads, k_.heads);
  }
  saved_.out = ctx.saved.take(x.dtype, {tokens, q_.heads * head_dim_});
  core_.forward(ctx, saved_.q.out, saved_.k.out, heads_of(qkv, v_.begin, v_.heads),
                saved_.out.split_last(q_.heads, head_dim_));
  o_.forward_to_rows(ctx, saved_.out, y);
}

void GqaAttention::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->tokens();
  const Tensor dout = ctx.scratch.take(dy.dtype, {tokens, q_.heads * head_dim_});
  o_.backward_of_rows(ctx, saved_.out, dy, dout);
  const ConstTensor x = parallel::whole_rows_beside(ctx, saved_.x);
  const Tensor dqkv = ctx.scratch.take(dy.dtype, {tokens, qkv_.out()});
  const Tensor dq = heads_of(dqkv, q_.begin, q_.heads), dk = heads_of(dqkv, k_.begin, k_.heads);
  core_.backward(ctx, dout.split_last(q_.heads, head_dim_), dq, dk,
                 heads_of(dqkv, v_.begin, v_.heads));
  if (qk_norm_) {
    norm_rope_backward(ctx, k_, saved_.k, dk);
    norm_rope_backward(ctx, q_, saved_.q, dq);
  } else {
    norm_rope_backward(ctx, {}, {}, heads_of(dqkv, 0, q_.heads + k_.heads));
  }
  qkv_.backward_to_rows(ctx, x, dqkv, dx);
}

}  // namespace strait::layers
