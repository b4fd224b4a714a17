#include "layers/attention/mla.h"

#include "kernels/elementwise.h"
#include "kernels/mla.h"
#include "layers/attention/rope.h"
#include "parallel/tensor_split.h"

namespace strait::layers {
namespace {

std::int64_t query_width(const config::Attention& a) {
  return a.n_heads * (a.mla.nope_dim + a.mla.rope_dim);
}

LinearSpec down_spec(const Build& build, const std::string& name) {
  const config::Mla& mla = build.model.attention.mla;
  const std::int64_t kv = mla.kv_rank + mla.rope_dim;
  LinearSpec spec{.name = name + ".down",
                  .in = build.model.d_model,
                  .out = mla.q_rank + kv,
                  .std = build.model.init_std};
  if (mla.q_rank > 0) spec.sections.push_back({name + ".q_a.weight", mla.q_rank});
  spec.sections.push_back({name + ".kv_a.weight", kv});
  return spec;
}

}  // namespace

MlaAttention::Latent::Latent(const Build& build, const std::string& name,
                             const std::string& up_name, std::int64_t begin_channel,
                             std::int64_t channels, std::int64_t out)
    : begin(begin_channel),
      width(channels),
      norm(build, name, channels, build.model.attention.mla.norm_eps),
      up(build, {.name = up_name,
                 .in = channels,
                 .out = out,
                 .shard = build.over_tensor(0),
                 .std = build.model.init_std}) {}

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
      heads_(build.model.attention.n_heads / build.mesh.tp),
      rope_(make_rope(build)),
      down_(build, down_spec(build, name)),
      kv_(build, name + ".kv_a_norm", name + ".kv_b", dims_.q_rank, dims_.kv_rank,
          build.model.attention.n_heads * (dims_.nope_dim + dims_.value_dim)),
      o_(build, {.name = name + ".o",
                 .in = build.model.attention.n_heads * dims_.value_dim,
                 .out = build.model.d_model,
                 .shard = build.over_tensor(1),
                 .std = build.output_std()}),
      core_({.heads = heads_,
             .kv_heads = heads_,
             .key_dim = dims_.nope_dim + dims_.rope_dim,
             .value_dim = dims_.value_dim,
             .slides = build.slides(),
             .layer = build.layer,
             .remembers = false}) {
  const std::int64_t queries = query_width(build.model.attention);
  if (dims_.q_rank > 0) {
    q_.emplace(build, name + ".q_a_norm", name + ".q_b", 0, dims_.q_rank, queries);
  } else {
    straight_q_.emplace(build, LinearSpec{.name = name + ".q",
                                          .in = build.model.d_model,
                                          .out = queries,
                                          .shard = build.over_tensor(0),
                                          .std = build.model.init_std});
  }
}

Tensor MlaAttention::query_up(Ctx& ctx, ConstTensor x, Tensor down) {
  if (q_) return q_->forward(ctx, down);
  const Tensor q = ctx.saved.take(x.dtype, {x.shape[0], straight_q_->out()});
  straight_q_->forward(ctx, x, q);
  return q;
}

Tensor MlaAttention::latents(Ctx& ctx, ConstTensor rows) const {
  parallel::Communicator& group = ctx.groups.axis(core::Axis::tp);
  const Tensor down = ctx.saved.take(rows.dtype, {rows.shape[0] * group.size(), down_.out()});
  if (group.alone()) {
    down_.forward(ctx, rows, down);
  } else {
    const Tensor own = ctx.scratch.take(rows.dtype, {rows.shape[0], down_.out()});
    down_.forward(ctx, rows, own);
    parallel::gather_rows(ctx, own, down, "tp latents");
  }
  return down;
}

void MlaAttention::forward(Ctx& ctx, ConstTensor rows, Tensor y) {
  const core::Frame frame(ctx.scratch);
  saved_.x = rows;
  const Tensor down = latents(ctx, rows);
  const std::int64_t tokens = down.shape[0], key_dim = core_.dims().key_dim;
  saved_.out = ctx.saved.take(down.dtype, {tokens, heads_ * dims_.value_dim});
  const Tensor out = saved_.out.split_last(heads_, dims_.value_dim);
  const ConstTensor x = straight_q_ ? parallel::whole_rows(ctx, rows) : rows;
  const Tensor q = query_up(ctx, x, down).split_last(heads_, key_dim);
  if (ctx.cache) {
    attend_to_cache(ctx, q, down, out);
  } else {
    attend(ctx, {q, q, down, ctx.tokens->positions}, out);
  }
  o_.forward_to_rows(ctx, saved_.out, y);
}

void MlaAttention::attend(Ctx& ctx, const Inside& in, Tensor out) {
  const std::int64_t rows = in.down.shape[0];
  const Tensor kv = kv_.forward(ctx, in.down).split_last(heads_, dims_.nope_dim + dims_.value_dim);
  const Tensor k = ctx.saved.take(in.down.dtype, {rows, heads_, core_.dims().key_dim});
  kernels::launch(
      kernels::MlaAssembleFwd{.q_up = in.q_rows,
                              .kv_up = kv,
                              .k_rope = in.down.slice(1, kv_.begin + kv_.width, dims_.rope_dim),
                              .positions = in.positions,
                              .q = in.q_rows,
                              .k = k,
                              .rope = rope_},
      ctx.stream);
  core_.forward(ctx, in.q, k, kv.slice(2, dims_.nope_dim, dims_.value_dim), out);
}

void MlaAttention::attend_to_cache(Ctx& ctx, Tensor q, Tensor down, Tensor out) {
  parallel::DecodeCache& cache = *ctx.cache;
  const std::int64_t latent = kv_.width + dims_.rope_dim, tokens = q.shape[0];
  const std::int64_t seen = cache.past + tokens, key_dim = core_.dims().key_dim;
  Tensor& kept = cache.of(core_.dims().layer).latent;
  if (!kept.defined()) kept = cache.memory.take(q.dtype, {cache.capacity, latent});
  kernels::launch(
      kernels::Copy{.x = down.slice(1, kv_.begin, latent), .y = kept.slice(0, cache.past, tokens)},
      ctx.stream);
  // Rows of all tokens that are seen: their latents, and queries of which the last ones are real.
  const Tensor all = ctx.saved.take(q.dtype, {seen, down_.out()});
  kernels::launch(kernels::Copy{.x = kept.slice(0, 0, seen), .y = all.slice(1, kv_.begin, latent)},
                  ctx.stream);
  const Tensor rows = ctx.saved.take(q.dtype, {seen, heads_, key_dim});
  kernels::launch(kernels::Fill{.x = rows, .value = 0}, ctx.stream);
  const Tensor last = rows.slice(0, cache.past, tokens);
  kernels::launch(kernels::Copy{.x = q, .y = last}, ctx.stream);
  attend(ctx, {last, rows, all, cache.positions.slice(0, 0, seen)}, out);
}

void MlaAttention::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->tokens(), key_dim = core_.dims().key_dim;
  const auto scratch = [&](std::int64_t width) {
    return ctx.scratch.take(dy.dtype, {tokens, width});
  };
  const Tensor dout = scratch(heads_ * dims_.value_dim);
  o_.backward_of_rows(ctx, saved_.out, dy, dout);
  const Tensor ddown = scratch(down_.out());
  const Tensor dq_up = scratch(heads_ * key_dim);
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
  latents_backward(ctx, ddown, dx);
  if (straight_q_) straight_backward(ctx, dq_up, dx);
}

void MlaAttention::latents_backward(Ctx& ctx, const Tensor& ddown, Tensor dx) const {
  Tensor own = ddown;  // this rank's rows of the sum over all heads
  if (dx.shape[0] != ddown.shape[0]) {
    own = ctx.scratch.take(ddown.dtype, {dx.shape[0], down_.out()});
    parallel::summed_rows(ctx, ddown, own, "tp latent gradients");
  }
  down_.backward(ctx, saved_.x, own, dx);
}

void MlaAttention::straight_backward(Ctx& ctx, ConstTensor dq, Tensor dx) const {
  const ConstTensor x = parallel::whole_rows(ctx, saved_.x);
  if (dx.shape[0] == x.shape[0]) return straight_q_->backward_add(ctx, x, dq, dx);
  const Tensor terms = parallel::terms_of(ctx, dx);
  straight_q_->backward(ctx, x, dq, terms);
  const Tensor sum = ctx.scratch.take(dx.dtype, {dx.shape[0], dx.shape[1]});
  parallel::summed_rows(ctx, terms, sum);
  kernels::launch(kernels::Add{.a = dx, .b = sum, .y = dx}, ctx.stream);
}

}  // namespace strait::layers
