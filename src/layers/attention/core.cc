#include "layers/attention/core.h"

#include <cmath>
#include <limits>
#include <utility>

#include "kernels/attention.h"
#include "kernels/elementwise.h"

namespace strait::layers {

using kernels::launch;
using parallel::KeysValues;
using parallel::Spans;

AttentionCore::AttentionCore(const CoreDims& dims)
    : dims_(dims), scale_(1.0 / std::sqrt(static_cast<double>(dims.key_dim))) {}

const Spans& AttentionCore::spans(const Ctx& ctx) const {
  return dims_.slides ? ctx.tokens->sliding : ctx.tokens->spans;
}

KeysValues AttentionCore::views(const Tensor& rows) const {
  return parallel::keys_of(rows, dims_.kv_heads, dims_.key_dim, dims_.value_dim);
}

void AttentionCore::attend(Ctx& ctx, ConstTensor k, ConstTensor v, const Spans& spans, Tensor o,
                           Tensor lse) const {
  launch(kernels::AttentionFwd{.q = saved_.q,
                               .k = k,
                               .v = v,
                               .k_begin = spans.k_begin,
                               .k_end = spans.k_end,
                               .o = o,
                               .lse = lse,
                               .scale = scale_},
         ctx.stream);
  if (ctx.probe) ctx.probe->scores(dims_.layer, saved_.q, k, spans, scale_);
}

void AttentionCore::attend_backward(Ctx& ctx, ConstTensor dout, ConstTensor k, ConstTensor v,
                                    const Spans& spans, Tensor dq, Tensor dk, Tensor dv) const {
  launch(kernels::AttentionBwd{.dout = dout,
                               .q = saved_.q,
                               .k = k,
                               .v = v,
                               .o = saved_.o,
                               .lse = saved_.lse,
                               .k_begin = spans.k_begin,
                               .k_end = spans.k_end,
                               .dq = dq,
                               .dk = dk,
                               .dv = dv,
                               .scale = scale_},
         ctx.stream);
}

/// Appends k and v to the cache and makes them all that is in it.
void AttentionCore::remember(Ctx& ctx, ConstTensor& k, ConstTensor& v) const {
  parallel::DecodeCache& cache = *ctx.cache;
  parallel::LayerCache& own = cache.of(dims_.layer);
  if (!own.k.defined()) {
    own.k = cache.memory.take(k.dtype, {cache.capacity, k.shape[1], k.shape[2]});
    own.v = cache.memory.take(v.dtype, {cache.capacity, v.shape[1], v.shape[2]});
  }
  const std::int64_t fresh = k.shape[0], seen = cache.past + fresh;
  launch(kernels::Copy{.x = k, .y = own.k.slice(0, cache.past, fresh)}, ctx.stream);
  launch(kernels::Copy{.x = v, .y = own.v.slice(0, cache.past, fresh)}, ctx.stream);
  k = own.k.slice(0, 0, seen);
  v = own.v.slice(0, 0, seen);
}

void AttentionCore::forward(Ctx& ctx, ConstTensor q, ConstTensor k, ConstTensor v, Tensor o) {
  if (ctx.cache && dims_.remembers) remember(ctx, k, v);
  const DType stat = kernels::stat_dtype(q.dtype);
  saved_ = {q, k, v, o, ctx.saved.take(stat, {dims_.heads, q.shape[0]})};
  attend_all(ctx, o);
  if (ctx.probe) ctx.probe->values(dims_.layer, v, o);
}

/// The keys of every context rank.
void AttentionCore::attend_all(Ctx& ctx, Tensor o) const {
  const ConstTensor &k = saved_.k, &v = saved_.v;
  if (ctx.groups.axis(core::Axis::cp).alone()) {
    return attend(ctx, k, v, spans(ctx), o, saved_.lse);
  }
  const core::Frame frame(ctx.scratch);
  if (!ctx.tokens->key_order.defined()) return ring_forward(ctx, o);
  const KeysValues all = views(parallel::gather_keys(ctx, parallel::key_rows(ctx, k, v)));
  attend(ctx, all.k, all.v, spans(ctx), o, saved_.lse);
}

void AttentionCore::backward(Ctx& ctx, ConstTensor dout, Tensor dq, Tensor dk, Tensor dv) {
  if (ctx.groups.axis(core::Axis::cp).alone()) {
    return attend_backward(ctx, dout, saved_.k, saved_.v, spans(ctx), dq, dk, dv);
  }
  const core::Frame frame(ctx.scratch);
  const Tensor rows = parallel::key_rows(ctx, saved_.k, saved_.v);
  if (!ctx.tokens->key_order.defined()) {
    ring_backward(ctx, dout, dq, rows);
  } else {
    const Tensor gathered = parallel::gather_keys(ctx, rows);
    const Tensor dgathered = ctx.scratch.take(rows.dtype, {gathered.shape[0], gathered.shape[1]});
    const KeysValues all = views(gathered), d = views(dgathered);
    attend_backward(ctx, dout, all.k, all.v, spans(ctx), dq, d.k, d.v);
    parallel::scatter_key_gradients(ctx, dgathered, rows);
  }
  launch(kernels::Copy{.x = views(rows).k, .y = dk}, ctx.stream);
  launch(kernels::Copy{.x = views(rows).v, .y = dv}, ctx.stream);
}

void AttentionCore::ring_forward(Ctx& ctx, Tensor o) const {
  const std::int64_t tokens = o.shape[0], heads = o.shape[1], width = o.shape[2];
  const DType stat = saved_.lse.dtype;
  const parallel::Communicator& group = ctx.groups.axis(core::Axis::cp);
  const int ranks = group.size();
  const Tensor sum = ctx.scratch.take(stat, {tokens, heads, width});
  const Tensor part = ctx.scratch.take(o.dtype, {tokens, heads, width});
  const Tensor part_lse = ctx.scratch.take(stat, {heads, tokens});
  launch(kernels::Fill{.x = sum, .value = 0}, ctx.stream);
  launch(kernels::Fill{.x = saved_.lse, .value = -std::numeric_limits<double>::infinity()},
         ctx.stream);
  Tensor mine = parallel::key_rows(ctx, saved_.k, saved_.v);
  Tensor next = ctx.scratch.take(mine.dtype, {mine.shape[0], mine.shape[1]});
  for (int step = 0; step < ranks; ++step) {
    const int source = (group.rank() + ranks - step) % ranks;
    attend(ctx, views(mine).k, views(mine).v, spans(ctx).block(source), part, part_lse);
    launch(kernels::AttentionMerge{.part = part, .part_lse = part_lse, .o = sum, .lse = saved_.lse},
           ctx.stream);
    if (step + 1 == ranks) break;
    parallel::pass_on(ctx, mine, next, "cp keys");
    std::swap(mine, next);
  }
  launch(kernels::Copy{.x = sum, .y = o}, ctx.stream);
}

/// `rows` holds this rank's key rows and takes their gradients.
void AttentionCore::ring_backward(Ctx& ctx, ConstTensor dout, Tensor dq, Tensor rows) const {
  const std::int64_t tokens = rows.shape[0], width = rows.shape[1];
  const DType stat = saved_.lse.dtype;
  const parallel::Communicator& group = ctx.groups.axis(core::Axis::cp);
  const int ranks = group.size();
  const auto wide = [&](std::int64_t columns) { return ctx.scratch.take(stat, {tokens, columns}); };
  const auto narrow = [&](std::int64_t n) { return ctx.scratch.take(rows.dtype, {tokens, n}); };
  const std::int64_t queries = dims_.heads * dims_.key_dim;
  const Tensor dq_part = narrow(queries), dq_term = wide(queries), dq_sum = wide(queries);
  const Tensor drows = narrow(width), term = wide(width);
  Tensor mine = rows, next = narrow(width), sum = wide(width), incoming = wide(width);
  launch(kernels::Fill{.x = dq_sum, .value = 0}, ctx.stream);
  launch(kernels::Fill{.x = sum, .value = 0}, ctx.stream);
  for (int step = 0; step < ranks; ++step) {
    const int source = (group.rank() + ranks - step) % ranks;
    const KeysValues keys = views(mine), d = views(drows);
    attend_backward(ctx, dout, keys.k, keys.v, spans(ctx).block(source),
                    dq_part.split_last(dims_.heads, dims_.key_dim), d.k, d.v);
    launch(kernels::Copy{.x = dq_part, .y = dq_term}, ctx.stream);
    launch(kernels::Add{.a = dq_sum, .b = dq_term, .y = dq_sum}, ctx.stream);
    launch(kernels::Copy{.x = drows, .y = term}, ctx.stream);
    launch(kernels::Add{.a = sum, .b = term, .y = sum}, ctx.stream);
    // The sums go one step further than the keys: home.
    parallel::pass_on(ctx, sum, incoming, "cp key gradients");
    std::swap(sum, incoming);
    if (step + 1 == ranks) break;
    parallel::pass_on(ctx, mine, next, "cp keys");
    std::swap(mine, next);
  }
  launch(kernels::Copy{.x = sum, .y = rows}, ctx.stream);
  launch(kernels::Copy{.x = dq_sum.split_last(dims_.heads, dims_.key_dim), .y = dq}, ctx.stream);
}

}  // namespace strait::layers
