#include "layers/attention/mla.h"

#include "kernels/mla.h"
#include "layers/attention/rope.h"

namespace strait::layers {
namespace {

std::int64_t query_width(const config::Attention& a) {
  return a.n_heads * (a.mla.nope_dim + a.mla.rope_dim);
}

/// Width of what the down-projection gives for queries: their latent, or the queries themselves.
std::int64_t down_query_width(const config::Attention& a) {
  return a.mla.q_rank > 0 ? a.mla.q_rank : query_width(a);
}

LinearSpec down_spec(const Build& build, const std::string& name) {
  const config::Attention& a = build.model.attention;
  const std::int64_t q = down_query_width(a), kv = a.mla.kv_rank + a.mla.rope_dim;
  const std::string q_name = name + (a.mla.q_rank > 0 ? ".q_a.weight" : ".q.weight");
  return {.name = name + ".down",
          .in = build.model.d_model,
          .out = q + kv,
          .sections = {{q_name, q}, {name + ".kv_a.weight", kv}},
          .std = build.model.init_std};
}

}  // namespace

MlaAttention::Latent::Latent(const Build& build, const std::string& name,
                             const std::string& up_name, std::int64_t begin_channel,
                             std::int64_t channels, std::int64_t out)
    : begin(begin_channel),
      width(channels),
      norm(build, name, channels, build.model.attention.mla.norm_eps),
      up(build, {.name = up_name, .in = channels, .out = out, .std = build.model.init_std}) {}

Tensor MlaAttention::Latent::forward(Ctx& ctx, Tensor down) {
  const std::int64_t tokens = down.shape[0];
  saved.in = down.slice(1, begin, width);
  saved.normed = ctx.saved.take(down.dtype, {tokens, width});
  saved.rstd = ctx.saved.take(kernels::stat_dtype(down.dtype), {tokens});
  norm.forward(ctx, saved.in, saved.normed, saved.rstd);
  const Tensor out = ctx.saved.take(down.dtype, {tokens, up.out()});
  up.forward(ctx, saved.normed, out);
  return out;
}

void MlaAttention::Latent::backward(Ctx& ctx, ConstTensor dup, Tensor ddown) {
  const core::Frame frame(ctx.scratch);
  const Tensor dnormed = ctx.scratch.take(dup.dtype, {dup.shape[0], width});
  up.backward(ctx, saved.normed, dup, dnormed);
  norm.backward(ctx, dnormed, saved.in, saved.rstd, ddown.slice(1, begin, width));
}

MlaAttention::MlaAttention(const Build& build, const std::string& name)
    : dims_(build.model.attention.mla),
      heads_(build.model.attention.n_heads),
      rope_(make_rope(build, dims_.rope_dim)),
      down_(build, down_spec(build, name)),
      kv_(build, name + ".kv_a_norm", name + ".kv_b", down_query_width(build.model.attention),
          dims_.kv_rank, heads_ * (dims_.nope_dim + dims_.value_dim)),
      o_(build, {.name = name + ".o",
                 .in = heads_ * dims_.value_dim,
                 .out = build.model.d_model,
                 .std = build.output_std()}),
      core_({.heads = heads_,
             .kv_heads = heads_,
             .key_dim = dims_.nope_dim + dims_.rope_dim,
             .value_dim = dims_.value_dim,
             .slides = build.slides()}) {
  if (dims_.q_rank > 0) {
    q_.emplace(build, name + ".q_a_norm", name + ".q_b", 0, dims_.q_rank,
               query_width(build.model.attention));
  }
}

Tensor MlaAttention::query_up(Ctx& ctx, Tensor down) {
  if (q_) return q_->forward(ctx, down);
  return down.slice(1, 0, heads_ * core_.dims().key_dim);
}

void MlaAttention::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const std::int64_t tokens = x.shape[0], key_dim = core_.dims().key_dim;
  saved_.x = x;
  const Tensor down = ctx.saved.take(x.dtype, {tokens, down_.out()});
  down_.forward(ctx, x, down);
  const Tensor q = query_up(ctx, down).split_last(heads_, key_dim);
  const Tensor kv = kv_.forward(ctx, down).split_last(heads_, dims_.nope_dim + dims_.value_dim);
  const Tensor k = ctx.saved.take(x.dtype, {tokens, heads_, key_dim});
  kernels::launch(
      kernels::MlaAssembleFwd{.q_up = q,
                              .kv_up = kv,
                              .k_rope = down.slice(1, kv_.begin + kv_.width, dims_.rope_dim),
                              .positions = ctx.tokens->positions,
                              .q = q,
                              .k = k,
                              .rope = rope_},
      ctx.stream);
  saved_.out = ctx.saved.take(x.dtype, {tokens, heads_ * dims_.value_dim});
  core_.forward(ctx, q, k, kv.slice(2, dims_.nope_dim, dims_.value_dim),
                saved_.out.split_last(heads_, dims_.value_dim));
  o_.forward(ctx, saved_.out, y);
}

void MlaAttention::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = dy.shape[0], key_dim = core_.dims().key_dim;
  const auto scratch = [&](std::int64_t width) {
    return ctx.scratch.take(dy.dtype, {tokens, width});
  };
  const Tensor dout = scratch(heads_ * dims_.value_dim);
  o_.backward(ctx, saved_.out, dy, dout);
  const Tensor ddown = scratch(down_.out());
  const Tensor dq_up = q_ ? scratch(heads_ * key_dim) : ddown.slice(1, 0, heads_ * key_dim);
  const Tensor dq = dq_up.split_last(heads_, key_dim);
  const Tensor dk = scratch(heads_ * key_dim).split_last(heads_, key_dim);
  const Tensor dv = scratch(heads_ * dims_.value_dim).split_last(heads_, dims_.value_dim);
  core_.backward(ctx, dout.split_last(heads_, dims_.value_dim), dq, dk, dv);
  const Tensor dkv_up = scratch(kv_.up.out());
  kernels::launch(
      kernels::MlaAssembleBwd{.dq = dq,
                              .dk = dk,
                              .dv = dv,
                              .positions = ctx.tokens->positions,
                              .dq_up = dq,
                              .dkv_up = dkv_up.split_last(heads_, dims_.nope_dim + dims_.value_dim),
                              .dk_rope = ddown.slice(1, kv_.begin + kv_.width, dims_.rope_dim),
                              .rope = rope_},
      ctx.stream);
  kv_.backward(ctx, dkv_up, ddown);
  if (q_) q_->backward(ctx, dq_up, ddown);
  down_.backward(ctx, saved_.x, ddown, dx);
}

}  // namespace strait::layers
